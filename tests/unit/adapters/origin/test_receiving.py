"""Long bodies: whole, cut, slow, too long, abandoned; and the connection afterwards."""

import asyncio
import contextlib
import hashlib
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shoal.adapters.origin import receiving
from shoal.adapters.origin.client import OriginClient
from shoal.adapters.origin.config import Bounds, RegistryConfig
from shoal.core.blob import BlobSpec
from shoal.core.digest import Digest
from shoal.core.errors import OriginError
from shoal.testing.certificates import PrivateAuthority
from shoal.testing.registry import EmbeddedRegistry
from shoal.testing.registry_faults import Drip, Stall, Truncate, Unframed
from unit.adapters.origin.asking import Right, drain, fetched, spec_of

LONG = os.urandom(5_000_000)


def _connections(registry: EmbeddedRegistry) -> int:
    return len({seen.client_port for seen in registry.log if seen.route == "blobs"})


async def test_long_bodies_come_whole_and_their_connection_is_used_again(
    registry: EmbeddedRegistry, client: OriginClient
) -> None:
    spec = spec_of(registry, LONG)
    assert await fetched(client, spec, 0, len(LONG)) == LONG
    for start, end in ((0, 3_000_000), (1, 1_000_001), (2_000_000, len(LONG)), (7, 9)):
        assert await fetched(client, spec, start, end) == LONG[start:end]
    assert _connections(registry) == 1


async def test_it_is_the_same_over_tls(tmp_path: Path) -> None:
    authority = PrivateAuthority(tmp_path)
    async with EmbeddedRegistry(tls=authority.server_context("127.0.0.1")) as registry:
        spec = spec_of(registry, LONG)
        async with OriginClient([registry.config(ca_file=authority.ca_file)]) as client:
            for start, end in ((0, len(LONG)), (1, 4_000_000), (3_000_000, len(LONG))):
                assert await fetched(client, spec, start, end) == LONG[start:end]
        assert _connections(registry) == 1


async def test_several_long_bodies_at_once_do_not_mix(
    registry: EmbeddedRegistry, client: OriginClient
) -> None:
    spec = spec_of(registry, LONG)
    ranges = [(start, start + 900_000) for start in range(0, 4_000_000, 400_000)]
    bodies = await asyncio.gather(*(fetched(client, spec, *part) for part in ranges))
    assert bodies == [LONG[start:end] for start, end in ranges]


async def test_a_reader_that_is_slower_than_the_registry_holds_it_back_and_gets_all(
    registry: EmbeddedRegistry, client: OriginClient
) -> None:
    body = os.urandom(24_000_000)
    spec = spec_of(registry, body)
    received = bytearray()
    async with client.fetch(spec, Right(), start=0, end=len(body)) as chunks:
        async for chunk in chunks:
            assert len(chunk) <= 2 * 1024 * 1024
            if not received:
                await asyncio.sleep(0.3)
                # What the two kernels' buffers and ours hold is well below the body.
                assert registry.counters.total_blob_body_bytes < len(body)
            received += chunk
            await asyncio.sleep(0.002)
    assert received == body


async def test_what_came_before_a_cut_is_handed_out_and_the_cut_is_told(
    registry: EmbeddedRegistry, client: OriginClient
) -> None:
    registry.fail(Truncate(2_000_000), route="blobs")
    spec = spec_of(registry, LONG)
    received = bytearray()
    with pytest.raises(OriginError, match="cut after 2000000 bytes"):
        async with client.fetch(spec, Right(), start=0, end=len(LONG)) as chunks:
            await drain(chunks, received)
    assert received == LONG[:2_000_000]
    registry.heal()
    assert await fetched(client, spec, 0, len(LONG)) == LONG


async def test_few_bytes_are_not_kept_back_for_many(registry: EmbeddedRegistry) -> None:
    registry.fail(Stall(1_000_001), route="blobs")
    spec = spec_of(registry, LONG)
    received = bytearray()
    async with OriginClient([registry.config()], bounds=Bounds(no_progress_s=0.4)) as client:
        with pytest.raises(OriginError, match=r"in 0\.4 s, after 1000001 in all"):
            async with client.fetch(spec, Right(), start=0, end=len(LONG)) as chunks:
                await drain(chunks, received)
    assert received == LONG[:1_000_001]


async def test_a_drip_is_handed_out_drop_by_drop_and_given_up(registry: EmbeddedRegistry) -> None:
    registry.fail(Drip(0.05), route="blobs")
    spec = spec_of(registry, LONG)
    chunks_of_it: list[bytes] = []

    async def read() -> None:
        async with client.fetch(spec, Right(), start=0, end=len(LONG)) as chunks:
            async for chunk in chunks:
                chunks_of_it.append(chunk)  # noqa: PERF401 - what came before the error counts

    async with OriginClient([registry.config()], bounds=Bounds(no_progress_s=0.5)) as client:
        with pytest.raises(OriginError, match=r"only \d+ bytes in 0\.5 s"):
            await read()
    assert len(chunks_of_it) > 3
    assert LONG.startswith(b"".join(chunks_of_it))


async def test_a_body_of_unknown_length_is_left_to_aiohttp(
    registry: EmbeddedRegistry, client: OriginClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: object, **kwargs: object) -> None:
        raise AssertionError("the connection was taken")

    monkeypatch.setattr(receiving.BodyReceiver, "__init__", refuse)
    registry.fail(Unframed(), route="blobs")
    spec = spec_of(registry, LONG)
    assert await fetched(client, spec, 0, len(LONG)) == LONG


async def test_who_leaves_in_the_middle_leaves_no_connection_behind(
    registry: EmbeddedRegistry, client: OriginClient
) -> None:
    spec = spec_of(registry, LONG)
    async with client.fetch(spec, Right(), start=0, end=len(LONG)) as chunks:
        first = await anext(chunks)
        assert LONG.startswith(first)
    registry.fail(Stall(1_000_000), route="blobs", times=1)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(fetched(client, spec, 0, len(LONG)), timeout=0.2)
    assert await fetched(client, spec, 0, len(LONG)) == LONG
    assert _connections(registry) == 3


Answer = Callable[[asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def _serving(answer: Answer) -> AsyncIterator[RegistryConfig]:
    """A server that sends `answer` to each request, whatever it is."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                await reader.readuntil(b"\r\n\r\n")
                await answer(writer)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # the client has left, or the test is over
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        host, port = server.sockets[0].getsockname()[:2]
        yield RegistryConfig(f"{host}:{port}", url=f"http://{host}:{port}", plain_http=True)


def _spec(config: RegistryConfig, body: bytes) -> BlobSpec:
    digest = Digest.parse(f"sha256:{hashlib.sha256(body).hexdigest()}")
    return BlobSpec(config.name, digest, len(body))


def _head(size_bytes: int) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size_bytes


async def test_bytes_after_the_body_are_no_part_of_it_and_cost_only_that_connection() -> None:
    async def answer(writer: asyncio.StreamWriter) -> None:
        writer.write(_head(len(LONG)) + LONG + b"more than was promised")
        await writer.drain()

    async with _serving(answer) as config, OriginClient([config]) as client:
        spec = _spec(config, LONG)
        assert await fetched(client, spec, 0, len(LONG)) == LONG
        # The same connection may be taken before they are seen: what comes on it is no answer.
        with contextlib.suppress(OriginError):
            assert await fetched(client, spec, 0, len(LONG)) == LONG
        assert await fetched(client, spec, 0, len(LONG)) == LONG


async def test_a_connection_that_the_registry_closes_after_the_body_is_not_used_again() -> None:
    async def answer(writer: asyncio.StreamWriter) -> None:
        head = _head(len(LONG)).replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
        writer.write(head + LONG)
        await writer.drain()
        writer.close()
        await writer.wait_closed()
        raise ConnectionResetError

    async with _serving(answer) as config, OriginClient([config]) as client:
        spec = _spec(config, LONG)
        for _ in range(3):
            assert await fetched(client, spec, 0, len(LONG)) == LONG


@settings(deadline=None, max_examples=25)
@given(
    cuts=st.lists(st.integers(0, 1_500_000), max_size=8),
    pauses=st.lists(st.sampled_from([0.0, 0.0, 0.001, 0.015]), min_size=9, max_size=9),
    size=st.integers(receiving.LEAST_BYTES - 2, 1_500_000),
)
def test_however_the_bytes_come_they_are_the_same(
    cuts: list[int], pauses: Sequence[float], size: int
) -> None:
    body = LONG[:size]
    edges = sorted({0, size, *(cut for cut in cuts if cut < size)})

    async def answer(writer: asyncio.StreamWriter) -> None:
        writer.write(_head(size))
        for start, end, pause_s in zip(edges, edges[1:], pauses, strict=False):
            writer.write(body[start:end])
            await writer.drain()
            await asyncio.sleep(pause_s)

    async def fetch() -> bytes:
        async with _serving(answer) as config, OriginClient([config]) as client:
            return await fetched(client, _spec(config, body), 0, size)

    assert asyncio.run(fetch()) == body
