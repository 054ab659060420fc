"""Bodies: only time spent waiting for the registry counts, and lengths are exact."""

import asyncio

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
