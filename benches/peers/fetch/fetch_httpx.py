"""The usual script: workers that take URLs from a list, one client, one line of JSON for each."""
import asyncio
import json
import sys
import time

import httpx


async def worker(urls, client, out):
    for url in urls:
        began = time.perf_counter()
        try:
            response = await client.get(url)
            record = {"url": url, "outcome": "ok", "status": response.status_code, "bytes": len(response.content)}
        except httpx.HTTPError as error:
            record = {"url": url, "outcome": type(error).__name__}
        record["ms"] = round((time.perf_counter() - began) * 1000, 3)
        out.write(json.dumps(record) + "\n")


async def main():
    with open(sys.argv[1]) as file:
        urls = iter(file.read().split())
    most = int(sys.argv[2])
    limits = httpx.Limits(max_connections=most, max_keepalive_connections=most)
    async with httpx.AsyncClient(limits=limits, timeout=httpx.Timeout(60, connect=5)) as client:
        await asyncio.gather(*(worker(urls, client, sys.stdout) for _ in range(most)))


asyncio.run(main())
