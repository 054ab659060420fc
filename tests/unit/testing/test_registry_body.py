"""Bodies that the embedded registry sends: honest ones are tested with it, here are the others."""

import asyncio
import os
from collections.abc import AsyncIterator

import aiohttp
import pytest

from shoal.testing.registry import EmbeddedRegistry
from shoal.testing.registry_body import RateCap
from shoal.testing.registry_faults import (
    Drip,
    Fault,
    IgnoreRange,
    Oversize,
    Stall,
    Truncate,
    Unframed,
    WithHeaders,
    WrongBytes,
    WrongLength,
    WrongRange,
)

BLOB = os.urandom(600_000)


@pytest.fixture
async def registry() -> AsyncIterator[EmbeddedRegistry]:
    async with EmbeddedRegistry() as registry:
        yield registry


async def ask(
    registry: EmbeddedRegistry, fault: Fault, range_: str | None = None, data: bytes = BLOB
) -> tuple[int, bytes]:
    digest = registry.add_blob(data, repository="a")
    registry.heal()
    registry.fail(fault, route="blobs")
    headers = {} if range_ is None else {"Range": range_}
    async with (
        aiohttp.ClientSession(registry.url) as session,
        session.get(f"/v2/a/blobs/{digest}", headers=headers) as answer,
    ):
        return answer.status, await answer.read()


async def test_wrong_bytes_differ_in_one(registry: EmbeddedRegistry) -> None:
    at = 300_000
    _, body = await ask(registry, WrongBytes(at))
    assert [i for i in range(len(BLOB)) if body[i] != BLOB[i]] == [at]
    assert (await ask(registry, WrongBytes(at), "bytes=0-99"))[1] == BLOB[:100]


async def test_wrong_lengths_agree_with_their_header(registry: EmbeddedRegistry) -> None:
    assert (await ask(registry, WrongLength(3)))[1] == BLOB + bytes(3)
    assert (await ask(registry, WrongLength(-3)))[1] == BLOB[:-3]
    assert (await ask(registry, Unframed(3)))[1] == BLOB + bytes(3)


async def test_ranges_are_ignored_or_shifted(registry: EmbeddedRegistry) -> None:
    assert await ask(registry, IgnoreRange(), "bytes=5-9") == (200, BLOB)
    assert await ask(registry, WrongRange(2), "bytes=5-9") == (206, BLOB[7:12])


async def test_a_truncated_body_ends_early(registry: EmbeddedRegistry) -> None:
    with pytest.raises(aiohttp.ClientPayloadError):
        await ask(registry, Truncate(5000))
    assert registry.counters.total_blob_body_bytes == 5000


@pytest.mark.parametrize("fault", [Stall(5000), Drip(0.02)])
async def test_a_stalled_or_dripping_body_does_not_end(
    registry: EmbeddedRegistry, fault: Fault
) -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.2):
            await ask(registry, fault)
    assert 0 < registry.counters.total_blob_body_bytes <= 5000


async def test_headers_and_size_of_a_manifest_can_be_wrong(registry: EmbeddedRegistry) -> None:
    registry.content.add_image("a", "1", [BLOB])
    async with aiohttp.ClientSession(registry.url) as session:
        registry.fail(WithHeaders({"Content-Type": "text/html"}), route="manifests", times=1)
        async with session.get("/v2/a/manifests/1") as answer:
            assert answer.content_type == "text/html"
        registry.fail(Oversize(70_000), route="manifests", times=1)
        async with session.get("/v2/a/manifests/1") as answer:
            assert len(await answer.read()) == 70_000


async def test_a_cap_lets_a_short_burst_through_and_then_its_rate(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    waits_s: list[float] = []

    async def note(delay_s: float) -> None:
        waits_s.append(delay_s)

    cap = RateCap(1_000_000)
    monkeypatch.setattr(asyncio, "sleep", note)
    await cap.take(50_000)
    assert sum(waits_s) == pytest.approx(0, abs=1e-6)
    await cap.take(100_000)
    assert 0.05 <= sum(waits_s) <= 0.1001  # however late the second comes
