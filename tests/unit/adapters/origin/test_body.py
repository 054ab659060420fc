"""Bodies: only time spent waiting for the registry counts, and lengths are exact."""

import asyncio
import os
from collections.abc import Hashable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shoal.adapters.origin.body import BodyReader, ExactChunks
from shoal.adapters.origin.client import OriginClient
from shoal.adapters.origin.config import Bounds
from shoal.core.errors import OriginError, OriginLied
from shoal.testing.registry import EmbeddedRegistry
from shoal.testing.registry_faults import Stall
from unit.adapters.origin.asking import BLOB, Right, drain, spec_of


async def test_a_slow_consumer_is_not_the_registrys_fault(
    registry: EmbeddedRegistry,
) -> None:
    bounds = Bounds(no_progress_s=0.5)
    received = 0
    async with (
        OriginClient([registry.config()], bounds=bounds) as client,
        client.fetch(spec_of(registry), Right(), start=0, end=len(BLOB)) as chunks,
    ):
        async for chunk in chunks:
            received += len(chunk)
            await asyncio.sleep(bounds.no_progress_s * 1.2)
    assert received == len(BLOB)


async def test_progress_starts_the_clock_anew(registry: EmbeddedRegistry) -> None:
    bounds = Bounds(no_progress_s=0.4, min_progress_bytes=1)
    registry.fail(Stall(100_000), route="blobs")
    async with OriginClient([registry.config()], bounds=bounds) as client:
        received = bytearray()
        async with client.fetch(spec_of(registry), Right(), start=0, end=len(BLOB)) as chunks:
            with pytest.raises(OriginError, match=r"only 0 bytes in 0\.4 s, after 100000 in all"):
                await drain(chunks, received)
        assert received == BLOB[:100_000]


class FromList(BodyReader):
    """Reads chunks that are given, with no connection behind."""

    def __init__(self, chunks: list[bytes]) -> None:
        self._chunks = list(chunks)
        self.received_bytes = 0

    async def read(self) -> bytes:
        """Return the next chunk that was given."""
        chunk = self._chunks.pop(0) if self._chunks else b""
        self.received_bytes += len(chunk)
        return chunk


@settings(deadline=None)
@given(
    st.lists(st.binary(min_size=1, max_size=9), max_size=6),
    st.integers(0, 12),
    st.integers(0, 12),
    st.integers(0, 12),
)
def test_exactly_the_wanted_bytes_come_out_or_an_error(
    chunks: list[bytes], skip: int, size: int, rest: int
) -> None:
    body = b"".join(chunks)
    exact = ExactChunks(
        FromList(chunks), what="a blob", skip_bytes=skip, size_bytes=size, rest_bytes=rest
    )
    received = bytearray()

    async def read() -> None:
        async for chunk in exact:
            received.extend(chunk)

    total = skip + size + rest
    if len(body) == total:
        asyncio.run(read())
        assert received == body[skip : skip + size]
        return
    with pytest.raises(OriginLied if len(body) > total else OriginError):
        asyncio.run(read())
    assert body[skip : skip + size].startswith(received)


class Slow:
    """A pace that counts, and lets a stretch go at once."""

    def __init__(self, rate: int | None) -> None:
        self.rate_bytes_per_s = rate
        self.stretch_bytes = 10_000
        self.taken: list[tuple[Hashable, int]] = []

    async def take(self, flow: Hashable, size_bytes: int) -> None:
        """Note it."""
        self.taken.append((flow, size_bytes))


async def test_what_is_kept_to_a_rate_comes_in_stretches_that_were_asked_for(
    registry: EmbeddedRegistry,
) -> None:
    pace = Slow(100_000)
    spec = spec_of(registry)
    async with OriginClient([registry.config()], pace=pace) as client:
        received = bytearray()
        async with client.fetch(spec, Right(), start=0, end=len(BLOB)) as chunks:
            async for chunk in chunks:
                assert len(chunk) <= pace.stretch_bytes
                received += chunk
                assert len(received) <= sum(size for _, size in pace.taken)
        assert received == BLOB
        assert sum(size for _, size in pace.taken) == len(BLOB)
        assert {flow for flow, _ in pace.taken} == {spec.tag}
        pace.taken.clear()
        path = f"/v2/team/app/blobs/{spec.digest}"
        async with client.stream(registry.config(), path, headers={}) as stream:
            assert b"".join([chunk async for chunk in stream.chunks]) == BLOB
        assert sum(size for _, size in pace.taken) == len(BLOB)


async def test_a_rate_may_come_and_go_in_the_middle_of_a_body(registry: EmbeddedRegistry) -> None:
    pace = Slow(None)
    data = os.urandom(3_000_000)
    spec = spec_of(registry, data)
    async with OriginClient([registry.config()], pace=pace) as client:
        received = bytearray()
        async with client.fetch(spec, Right(), start=0, end=len(data)) as chunks:
            async for chunk in chunks:
                received += chunk
                if len(received) > 1_000_000:
                    pace.rate_bytes_per_s = None if len(received) > 2_000_000 else 100_000
    assert received == data
    assert 0 < sum(size for _, size in pace.taken) < len(data)
