"""What a node can reach, over loopback."""

import asyncio

import pytest
from aiohttp import web

from shoal.adapters.cloud import reach
from shoal.core.endpoint import Endpoint


@pytest.mark.parametrize(("status", "fault"), [(200, ""), (401, ""), (500, "status 500")])
async def test_a_registry_answers_its_first_question(status: int, fault: str) -> None:
    async def answer(request: web.Request) -> web.Response:
        del request
        return web.Response(status=status)

    app = web.Application()
    app.router.add_get("/v2/", answer)
    runner = web.AppRunner(app, shutdown_timeout=1.0)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        domain = f"127.0.0.1:{runner.addresses[0][1]}"
        found = await reach.registry_fault(domain, plain_http=True)
        assert found.startswith(fault)
        assert bool(found) is bool(fault)
        assert await reach.registry_fault(domain), "plain HTTP was taken for TLS"
    finally:
        await runner.cleanup()


async def test_silence_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reach, "TIMEOUT_S", 0.05)
    done = asyncio.Event()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await done.wait()
        writer.close()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        fault = await reach.registry_fault(f"127.0.0.1:{port}", plain_http=True)
        done.set()
    assert fault.startswith("no answer within")


async def test_a_name_stands_for_all_of_its_addresses() -> None:
    assert Endpoint("127.0.0.1", 65002) in await reach.addresses_of("localhost", 65002)
    assert await reach.unreachable([]) == {}


async def test_a_node_where_nobody_listens_is_named_with_the_reason() -> None:
    closed = Endpoint("127.0.0.1", 9)
    faults = await reach.unreachable([closed])
    assert list(faults) == [closed]
    assert faults[closed]
