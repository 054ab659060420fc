"""Waiting for a reader as long as its blob arrives."""

import asyncio

import pytest

from shoal.agent.front.progress import (
    STALLED_MOST,
    Progress,
    StalledLately,
    readable_while_progressing,
)
from shoal.agent.ports import OriginGrant
from shoal.core.blob import BlobSpec
from shoal.core.digest import Digest
from shoal.core.errors import TransferFailed
from shoal.testing.fake_transfers import FakeReader, FakeTransfers

DIGEST = Digest("sha256", "1" * 64)
SPEC = BlobSpec("registry.example", DIGEST, 100)


async def reader_of(transfers: FakeTransfers) -> FakeReader:
    return await transfers.open(SPEC, OriginGrant("team/app"))


async def test_what_is_there_is_returned_at_once(memory_blobs: FakeTransfers) -> None:
    memory_blobs.add(DIGEST, bytes(100))
    reader = await reader_of(memory_blobs)
    progress = Progress(memory_blobs.sources)
    assert await readable_while_progressing(reader, 0, progress=progress, limit_s=0.1) == 100


async def test_without_any_byte_the_wait_ends_at_the_limit(memory_blobs: FakeTransfers) -> None:
    memory_blobs.add(DIGEST, bytes(100), arrived=10)
    reader = await reader_of(memory_blobs)
    for progress in (Progress(memory_blobs.sources), Progress()):
        with pytest.raises(TransferFailed, match="no byte arrived"):
            await readable_while_progressing(reader, 10, progress=progress, limit_s=0.05)


async def test_a_piece_that_is_not_whole_yet_counts_as_progress(
    memory_blobs: FakeTransfers,
) -> None:
    memory_blobs.add(DIGEST, bytes(100), arrived=10)
    progress = Progress(memory_blobs.sources)
    before = progress.arrived_bytes(DIGEST)
    sources = memory_blobs.sources(DIGEST)
    assert sources is not None
    sources.moving_bytes += 5
    assert progress.arrived_bytes(DIGEST) == before + 5


async def test_bytes_that_arrive_prolong_the_wait(memory_blobs: FakeTransfers) -> None:
    memory_blobs.add(DIGEST, bytes(100), arrived=10)
    reader = await reader_of(memory_blobs)
    progress = Progress(memory_blobs.sources)
    waiting = asyncio.ensure_future(
        readable_while_progressing(reader, 10, progress=progress, limit_s=0.6, least_bytes=2)
    )
    for _ in range(8):  # 1.2 s, twice the bound
        await asyncio.sleep(0.15)
        memory_blobs.trickle(DIGEST, size_bytes=2)
    memory_blobs.arrive(DIGEST, 20)
    assert await waiting == 20


async def test_bytes_that_drip_do_not_prolong_the_wait(memory_blobs: FakeTransfers) -> None:
    memory_blobs.add(DIGEST, bytes(100), arrived=10)
    reader = await reader_of(memory_blobs)
    progress = Progress(memory_blobs.sources)
    waiting = asyncio.ensure_future(
        readable_while_progressing(reader, 10, progress=progress, limit_s=0.2)
    )
    for _ in range(3):
        await asyncio.sleep(0.02)
        memory_blobs.trickle(DIGEST, size_bytes=1)
    with pytest.raises(TransferFailed, match=r"only \d+ bytes arrived for 0.2 s"):
        await waiting


async def test_what_the_reader_raises_is_passed_on(memory_blobs: FakeTransfers) -> None:
    memory_blobs.add(DIGEST, bytes(100), arrived=10)
    memory_blobs.fail(DIGEST)
    reader = await reader_of(memory_blobs)
    with pytest.raises(TransferFailed, match="told so"):
        await readable_while_progressing(reader, 10, progress=Progress(), limit_s=1.0)


def test_a_blob_that_stalled_a_client_lately_makes_the_next_wait_shorter() -> None:
    stalled = StalledLately(limit_s=10.0, again_s=2.0, lately_s=30.0)
    assert stalled.limit_s(DIGEST, now_s=5.0) == 10.0
    stalled.add(DIGEST, now_s=5.0)
    assert stalled.limit_s(DIGEST, now_s=34.9) == 2.0
    assert stalled.limit_s(DIGEST, now_s=35.1) == 10.0


def test_only_so_many_stalled_blobs_are_remembered_and_the_last_ones_are() -> None:
    stalled = StalledLately(limit_s=10.0, again_s=2.0, lately_s=30.0)
    digests = [Digest("sha256", f"{n:064x}") for n in range(STALLED_MOST + 1)]
    for digest in digests:
        stalled.add(digest, now_s=0.0)
    assert stalled.limit_s(digests[0], now_s=1.0) == 10.0
    assert all(stalled.limit_s(digest, now_s=1.0) == 2.0 for digest in digests[1:])
