"""aiohttp as server and client on uvloop: one session, no limit of connections, JSON parsed and written again, a timeout for each call."""

import asyncio

import uvloop
from aiohttp import ClientSession, ClientTimeout, TCPConnector, web

PARTS = ["activity", "items", "prices", "stock", "rules", "banners", "coupons", "profile", "cart", "rank", "comments", "recommend"]
session: ClientSession


async def part(name: str, port: int, number: str):
    async with session.get(f"http://127.0.0.1:{port}/{name}/{number}") as answer:
        answer.raise_for_status()
        return await answer.json()


async def page(request: web.Request) -> web.Response:
    number = request.match_info["id"]
    values = await asyncio.gather(*(part(name, 19100 + n, number) for n, name in enumerate(PARTS)))
    return web.json_response(dict(zip(PARTS, values)))


async def client(_app: web.Application):
    global session
    async with ClientSession(connector=TCPConnector(limit=0), timeout=ClientTimeout(total=10)) as session:
        yield


app = web.Application()
app.router.add_get(r"/page/{id:\d+}", page)
app.cleanup_ctx.append(client)
web.run_app(app, host="127.0.0.1", port=19200, backlog=4096, access_log=None, loop=uvloop.new_event_loop())
