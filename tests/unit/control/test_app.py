"""One process: pages, health, and what else is mounted."""

from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from shoal.control.app import build
from shoal.control.console import Console
from shoal.control.store.database import Database
from shoal.control.store.vault import Vault


def _mount(app: web.Application, console: Console) -> None:
    async def answer(request: web.Request) -> web.Response:
        return web.Response(text=f"{request.method} {console.setup_code}")

    app.router.add_route("*", "/", answer)


async def test_the_root_leads_to_the_pages_unless_something_else_is_mounted_there(
    database: Database, vault: Vault
) -> None:
    console = Console(database, vault, "code")
    async with TestClient(TestServer(build(console))) as client:
        answer = await client.get("/", allow_redirects=False)
        assert answer.headers["Location"] == "/console/instances"
        assert "administers" in await (await client.get("/console")).text()
        assert await (await client.get("/healthz")).text() == "ok\n"
    async with TestClient(TestServer(build(console, mounts=[_mount]))) as client:
        assert await (await client.post("/")).text() == "POST code"
        assert "administers" in await (await client.get("/console/")).text()
