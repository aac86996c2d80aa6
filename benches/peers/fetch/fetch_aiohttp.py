"""The usual script: workers that take URLs from a list, one session, one line of JSON for each."""
import asyncio
import json
import sys
import time

import aiohttp
import uvloop


async def worker(urls, session, out):
    for url in urls:
        began = time.perf_counter()
        try:
            async with session.get(url) as response:
                body = await response.read()
                record = {"url": url, "outcome": "ok", "status": response.status, "bytes": len(body)}
        except (aiohttp.ClientError, asyncio.TimeoutError) as error:
            record = {"url": url, "outcome": type(error).__name__}
        record["ms"] = round((time.perf_counter() - began) * 1000, 3)
        out.write(json.dumps(record) + "\n")


async def main():
    with open(sys.argv[1]) as file:
        urls = iter(file.read().split())
    most = int(sys.argv[2])
    connector = aiohttp.TCPConnector(limit=most)
    timeout = aiohttp.ClientTimeout(total=60, connect=5)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
        await asyncio.gather(*(worker(urls, session, sys.stdout) for _ in range(most)))


uvloop.run(main())
