"""aiohttp on uvloop: /light asks one service, /burn computes for some seconds: on threads or in processes, as the first argument says."""

import asyncio
import json
import sys
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor

import uvloop
from aiohttp import ClientSession, ClientTimeout, TCPConnector, web

session: ClientSession


def burn(seconds: float) -> int:
    end = time.perf_counter() + seconds
    turns = 0
    while time.perf_counter() < end:
        turns += 1
    return turns


async def light(request: web.Request) -> web.Response:
    number = request.match_info["id"]
    async with session.get(f"http://127.0.0.1:19100/c0/{number}") as answer:
        answer.raise_for_status()
        return web.json_response({"c0": await answer.json()})


async def burner(_request: web.Request) -> web.Response:
    turns = await asyncio.get_running_loop().run_in_executor(pool, burn, float(sys.argv[3]))
    return web.Response(text=json.dumps({"burnt": turns}), content_type="application/json")


async def client(_app: web.Application):
    global session
    async with ClientSession(connector=TCPConnector(limit=0), timeout=ClientTimeout(total=10)) as session:
        yield


if __name__ == "__main__":
    count = int(sys.argv[2])
    pool = ThreadPoolExecutor(count) if sys.argv[1] == "threads" else ProcessPoolExecutor(count)
    app = web.Application()
    app.router.add_get(r"/light/{id:\d+}", light)
    app.router.add_get("/burn", burner)
    app.cleanup_ctx.append(client)
    web.run_app(app, host="127.0.0.1", port=19200, backlog=4096, access_log=None, loop=uvloop.new_event_loop())
