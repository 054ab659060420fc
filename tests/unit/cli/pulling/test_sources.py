"""SourceLookup: what the agent says of a blob is told on, what fails is not."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from shoal.cli.pulling.sources import SourceLookup, Sources
from shoal.core.digest import Digest

DIGEST = Digest("sha256", "a" * 64)


@asynccontextmanager
async def serving(answer: Callable[[web.Request], Awaitable[web.Response]]) -> AsyncIterator[str]:
    application = web.Application()
    application.router.add_get("/shoal/transfers/{digest}", answer)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


async def learned(body: object, status: int = 200) -> list[tuple[Digest, Sources]]:
    async def answer(request: web.Request) -> web.Response:
        assert request.match_info["digest"] == str(DIGEST)
        return web.json_response(body, status=status)

    told: list[tuple[Digest, Sources]] = []
    async with serving(answer) as url:
        lookup = SourceLookup(f"{url}/", learned=lambda digest, it: told.append((digest, it)))
        lookup.begin(DIGEST)
        await lookup.end(DIGEST)
        await lookup.end(DIGEST)  # nothing is asked for twice at the end
        await lookup.close()
    return told


async def test_what_the_agent_says_is_told_on() -> None:
    body = {"length": 9, "origin_bytes": 1, "peer_bytes": 2, "cached_bytes": 6}
    assert await learned(body) == [(DIGEST, Sources(1, 2, 6))]


@pytest.mark.parametrize(
    "body", [[], {}, {"origin_bytes": 1}, {f"{n}_bytes": "x" for n in ("origin", "peer", "cached")}]
)
async def test_another_answer_is_not(body: object) -> None:
    assert await learned(body) == []
    assert await learned(body, status=404) == []


async def test_no_agent_is_no_error() -> None:
    told: list[Sources] = []
    lookup = SourceLookup("http://127.0.0.1:9", learned=lambda _, it: told.append(it))
    lookup.begin(DIGEST)
    await lookup.end(DIGEST)
    await lookup.close()
    assert told == []


async def test_it_asks_again_and_again_until_cancelled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shoal.cli.pulling.sources._EVERY_S", 0.0)
    counts = iter(range(1, 1000))
    third = asyncio.Event()

    async def answer(_: web.Request) -> web.Response:
        count = next(counts)
        if count == 3:
            third.set()
        return web.json_response({"origin_bytes": count, "peer_bytes": 0, "cached_bytes": 0})

    told: list[Sources] = []
    async with serving(answer) as url, asyncio.TaskGroup() as group:
        lookup = SourceLookup(url, learned=lambda _, it: told.append(it))
        lookup.begin(DIGEST)
        running = group.create_task(lookup.run())
        await third.wait()
        running.cancel()
        await asyncio.wait([running])
        await lookup.close()
    assert [it.origin_bytes for it in told[:2]] == [1, 2]
