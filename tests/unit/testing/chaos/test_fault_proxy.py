"""The registry's fault proxy: passes bytes on, or does to them what its mode says."""

from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from yarl import URL

from shoal.testing.chaos.fault_proxy import FaultProxy, Mode

BODY = bytes(range(256)) * 1000
BLOB = "/v2/a/blobs/sha256:00"


@pytest.fixture
async def ask(tmp_path: Path) -> AsyncIterator[tuple[Path, str, aiohttp.ClientSession]]:
    async def answer(request: web.Request) -> web.Response:
        return web.Response(body=BODY, headers={"X-Asked": request.raw_path})

    def application(handler: object) -> web.Application:
        made = web.Application()
        made.router.add_route("*", "/{path:.*}", handler)  # type: ignore[arg-type]
        return made

    mode = tmp_path / "mode"
    mode.write_text(Mode.PASS)
    async with (
        TestServer(application(answer)) as upstream,
        aiohttp.ClientSession() as session,
    ):
        proxy = FaultProxy(str(upstream.make_url("")).rstrip("/"), mode, session)
        async with TestServer(application(proxy.handle)) as server:
            yield mode, str(server.make_url("")).rstrip("/"), session


Ask = tuple[Path, str, aiohttp.ClientSession]


async def test_bytes_and_paths_are_passed_on_as_they_are(ask: Ask) -> None:
    _, url, session = ask
    async with session.get(URL(f"{url}{BLOB}?x=%2F", encoded=True)) as answer:
        assert await answer.read() == BODY
        assert answer.headers["X-Asked"] == f"{BLOB}?x=%2F"
    async with session.head(f"{url}{BLOB}") as answer:
        assert answer.content_length == len(BODY)


@pytest.mark.parametrize("mode", [Mode.STATUS_429, Mode.STATUS_500, Mode.STATUS_503])
async def test_a_status_is_answered_at_once(ask: Ask, mode: Mode) -> None:
    file, url, session = ask
    file.write_text(mode)
    async with session.get(f"{url}{BLOB}") as answer:
        assert answer.status == int(mode)


async def test_a_lie_changes_one_byte_of_a_blob_and_none_of_a_manifest(ask: Ask) -> None:
    file, url, session = ask
    file.write_text(Mode.LIE)
    async with session.get(f"{url}{BLOB}") as answer:
        body = await answer.read()
    assert sum(a != b for a, b in zip(body, BODY, strict=True)) == 1
    async with session.get(f"{url}/v2/a/manifests/1") as answer:
        assert await answer.read() == BODY


async def test_a_cut_ends_a_blob_in_its_middle(ask: Ask) -> None:
    file, url, session = ask
    file.write_text(Mode.TRUNCATE)
    with pytest.raises(aiohttp.ClientError):
        async with session.get(f"{url}{BLOB}") as answer:
            await answer.read()


async def test_one_that_hangs_answers_nothing(ask: Ask) -> None:
    file, url, session = ask
    file.write_text(Mode.HANG)
    with pytest.raises(TimeoutError):
        await session.get(f"{url}{BLOB}", timeout=aiohttp.ClientTimeout(total=0.2))
