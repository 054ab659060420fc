"""A blob on its way: who may read how far, who may write a piece, and whether the digest holds."""

import asyncio
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest

from shoal.adapters.store.memory import MemoryStore
from shoal.agent import pieces as pieces_module
from shoal.agent import transfer as transfer_module
from shoal.agent.pieces import OVERTAKEN, PieceWriter
from shoal.agent.ports import OriginGrant
from shoal.agent.transfer import GRANTS_MOST, StoredReader, Transfer, TransferReader
from shoal.agent.workers import Workers
from shoal.core.blob import KIB
from shoal.core.errors import TransferFailed
from shoal.core.peer import PeerId
from shoal.testing.conformance_store import Sample
from unit.agent.driving import descriptors, turns, until

pytestmark = pytest.mark.usefixtures("leaves_nothing")

SAMPLE = Sample(2200 * KIB)  # four pieces of 512 KiB and a short one
PIECE = SAMPLE.spec.piece_bytes
LENGTH = SAMPLE.spec.length_bytes
PEER = PeerId("127.0.0.9:1")


@dataclass(slots=True)
class Arriving:
    """A transfer, what it tells, and its bytes to be put there piece by piece."""

    sample: Sample
    store: MemoryStore
    workers: Workers
    content: bytes = b""
    readers_moved: int = 0
    verified: list[bool] = field(default_factory=list)
    transfer: Transfer = field(init=False)

    def __post_init__(self) -> None:
        self.content = self.content or self.sample.content
        self.transfer = Transfer(
            self.store.partial(self.sample.spec),
            self.workers,
            on_reader=self._reader_moved,
            on_verified=self._verified,
        )

    def _reader_moved(self, transfer: Transfer) -> None:
        assert transfer is self.transfer
        self.readers_moved += 1

    def _verified(self, transfer: Transfer, right: bool) -> None:
        assert transfer is self.transfer
        self.verified.append(right)

    def put(self, *pieces: int) -> None:
        """Let pieces arrive, whole."""
        spec = self.sample.spec
        for piece in pieces:
            start = spec.offset(piece)
            data = self.content[start : start + spec.size(piece)]
            self.transfer.partial.write(start, data)
            self.transfer.partial.mark(piece, self.sample.hash(piece))
            self.transfer.stored(piece, self.sample.hash(piece), PEER)

    def put_all(self) -> None:
        """Let the blob arrive."""
        self.put(*range(self.sample.spec.pieces))


@contextmanager
def arriving(
    workers: Workers,
    sample: Sample = SAMPLE,
    *,
    content: bytes = b"",
    store: MemoryStore | None = None,
) -> Iterator[Arriving]:
    own = store or MemoryStore()
    it = Arriving(sample, own, workers, content)
    try:
        yield it
    finally:
        for reader in list(it.transfer.readers):
            reader.close()
        it.transfer.partial.close()
        if store is None:
            own.close()


async def _read(reader: TransferReader) -> bytes:
    """Return the blob as a client gets it."""
    data = b""
    while len(data) < reader.spec.length_bytes:
        end = await reader.readable(len(data))
        assert end > len(data)
        data += os.pread(reader.fd, end - len(data), len(data))
    return data


# --- reading --------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", [(0, 1, 2, 3, 4), (4, 3, 2, 1, 0), (2, 4, 0, 3, 1)])
async def test_a_reader_gets_the_blob_in_order_whatever_the_order_of_arrival(
    workers: Workers, order: tuple[int, ...]
) -> None:
    with arriving(workers) as it:
        reading = asyncio.ensure_future(_read(it.transfer.reader()))
        for piece in order:
            await turns()
            it.put(piece)
        assert await reading == SAMPLE.content
        await until(lambda: it.verified == [True])


async def test_bytes_may_be_read_while_others_are_arriving(workers: Workers) -> None:
    with arriving(workers) as it:
        reader = it.transfer.reader()
        waiting = asyncio.ensure_future(reader.readable(0))
        it.put(1)
        await turns()
        assert not waiting.done()
        it.put(0)
        assert await waiting == 2 * PIECE
        assert await reader.readable(PIECE + 100) == 2 * PIECE


async def test_a_range_is_read_from_pieces_that_are_here_whatever_is_before_them(
    workers: Workers,
) -> None:
    with arriving(workers) as it:
        reader = it.transfer.reader()
        it.put(2, 3)
        assert await reader.readable(2 * PIECE + 5) == 4 * PIECE


async def test_the_last_piece_is_held_back_until_the_digest_is_right(workers: Workers) -> None:
    with arriving(workers) as it:
        reader = it.transfer.reader()
        it.put_all()
        assert await reader.readable(0) == 4 * PIECE
        assert it.transfer.readable_from(4 * PIECE) == 4 * PIECE
        assert it.transfer.readable_from(LENGTH - 1) == LENGTH - 1
        assert await reader.readable(4 * PIECE) == LENGTH
        assert it.transfer.verified
        assert it.verified == [True]
        assert await reader.readable(0) == LENGTH


async def test_a_blob_of_one_piece_is_held_whole(workers: Workers) -> None:
    sample = Sample(1000)
    with arriving(workers, sample) as it:
        reader = it.transfer.reader()
        it.put_all()
        assert it.transfer.readable_from(0) == 0
        assert await reader.readable(0) == 1000
        assert it.verified == [True]


async def test_a_blob_without_bytes_is_read_at_once(workers: Workers) -> None:
    with arriving(workers, Sample(0)) as it:
        assert await it.transfer.reader().readable(0) == 0
        it.transfer.hash_on()
        await until(lambda: it.verified == [True])


@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
async def test_both_digest_algorithms_decide(workers: Workers, algorithm: str) -> None:
    sample = Sample(1100 * KIB, algorithm=algorithm)
    with arriving(workers, sample) as it:
        it.put_all()
        await until(lambda: it.verified == [True])


@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
@pytest.mark.parametrize("length_bytes", [1, 1100 * KIB])
async def test_a_wrong_digest_fails_the_readers_before_the_last_piece(
    workers: Workers, algorithm: str, length_bytes: int
) -> None:
    sample = Sample(length_bytes, algorithm=algorithm)
    wrong = sample.content[:-1] + bytes([sample.content[-1] ^ 1])
    with arriving(workers, sample, content=wrong) as it:
        reader = it.transfer.reader()
        it.put_all()
        with pytest.raises(TransferFailed, match=f"{sample.digest}: the bytes that came are not"):
            await _read(reader)
        assert it.verified == [False]
        assert not it.transfer.verified
        with pytest.raises(TransferFailed):
            await reader.readable(0)


async def test_a_digest_made_in_stretches_is_the_same_digest(
    workers: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transfer_module, "HASH_LEAST_BYTES", PIECE)
    monkeypatch.setattr(transfer_module, "HASH_STRETCH_BYTES", 2 * PIECE)
    monkeypatch.setattr(transfer_module, "READ_BYTES", 100 * KIB)
    with arriving(workers) as it:
        it.put(0)
        await until(lambda: it.transfer.sources.checked_bytes == PIECE)
        it.put(4, 3, 2)
        await workers.run(int)
        assert it.transfer.sources.checked_bytes == PIECE, "there is a gap"
        it.put(1)
        await until(lambda: it.verified == [True])


async def test_a_file_that_cannot_be_read_back_fails_the_transfer(workers: Workers) -> None:
    with arriving(workers) as it:
        os.truncate(it.transfer.partial.fd, 0)
        for piece in range(5):
            it.transfer.stored(piece, SAMPLE.hash(piece), PEER)
        with pytest.raises(TransferFailed, match=r"cannot be read back: .* part file ends at 0"):
            await it.transfer.reader().readable(4 * PIECE)
        assert it.verified == []


async def test_a_failed_transfer_tells_everyone_who_waits_and_the_first_reason_stays(
    workers: Workers,
) -> None:
    with arriving(workers) as it:
        waiting = [asyncio.ensure_future(it.transfer.reader().readable(0)) for _ in range(3)]
        await turns()
        it.transfer.fail("no peer has it")
        it.transfer.fail("the agent stops")
        for answer in await asyncio.gather(*waiting, return_exceptions=True):
            assert str(answer) == f"{SAMPLE.digest}: no peer has it"
            assert isinstance(answer, TransferFailed)


async def test_what_was_verified_cannot_fail_any_more(workers: Workers) -> None:
    with arriving(workers) as it:
        it.put_all()
        await until(lambda: it.verified == [True])
        it.transfer.fail("nobody wants it any more")
        assert it.transfer.failure is None
        assert await it.transfer.reader().readable(0) == LENGTH


async def test_pieces_that_come_after_a_failure_are_not_hashed(workers: Workers) -> None:
    with arriving(workers) as it:
        it.transfer.fail("no peer has it")
        it.put_all()
        await workers.run(int)
        assert it.verified == []


async def test_a_reader_that_is_cancelled_leaves_the_others_waiting(workers: Workers) -> None:
    with arriving(workers) as it:
        one, other = it.transfer.reader(), it.transfer.reader()
        leaving = asyncio.ensure_future(one.readable(0))
        staying = asyncio.ensure_future(other.readable(0))
        await turns()
        leaving.cancel()
        await turns()
        it.put(0)
        assert await staying == PIECE
        assert leaving.cancelled()


async def test_where_readers_are_is_told(workers: Workers) -> None:
    with arriving(workers) as it:
        it.put(0, 1, 2)
        assert it.transfer.reader_piece() == 0
        one, other = it.transfer.reader(), it.transfer.reader()
        assert it.readers_moved == 2
        await one.readable(PIECE)
        await one.readable(PIECE + 1)  # the same piece
        assert it.readers_moved == 3
        assert it.transfer.reader_piece() == 0, "the furthest behind counts"
        await other.readable(2 * PIECE)
        assert it.transfer.reader_piece() == 1
        one.close()
        assert it.transfer.reader_piece() == 2
        one.close()
        assert it.readers_moved == 5, "closing twice is closing once"


async def test_a_reader_has_a_descriptor_of_its_own(workers: Workers) -> None:
    before = descriptors()
    with arriving(workers) as it:
        reader = it.transfer.reader()
        it.put_all()
        await until(lambda: it.verified == [True])
        it.transfer.partial.close()
        assert await _read(reader) == SAMPLE.content
    assert descriptors() == before


async def test_progress_of_the_digest_is_counted(workers: Workers) -> None:
    with arriving(workers) as it:
        it.put_all()
        await until(lambda: it.verified == [True])
        assert it.transfer.sources.checked_bytes == LENGTH
        assert it.transfer.sources.length_bytes == LENGTH


# --- resuming -------------------------------------------------------------------------------------


async def test_what_an_earlier_try_left_counts(workers: Workers) -> None:
    store = MemoryStore()
    with arriving(workers, store=store) as first:
        first.put(0, 3)
    with arriving(workers, store=store) as it:
        assert it.transfer.held == 0b1001
        assert it.transfer.missing() == 0b10110
        assert it.transfer.hashes == {0: SAMPLE.hash(0), 3: SAMPLE.hash(3)}
        assert it.transfer.sources.cached_bytes == 2 * PIECE
        assert await it.transfer.reader().readable(0) == PIECE
        it.put(1, 2, 4)
        await until(lambda: it.verified == [True])
    store.close()


async def test_what_an_earlier_try_left_whole_is_only_hashed(workers: Workers) -> None:
    store = MemoryStore()
    with arriving(workers, store=store) as first:
        first.put_all()
        await until(lambda: first.verified == [True])
    with arriving(workers, store=store) as it:
        assert it.transfer.missing() == 0
        assert not it.transfer.verified
        it.transfer.hash_on()
        assert await _read(it.transfer.reader()) == SAMPLE.content
    store.close()


# --- who may write --------------------------------------------------------------------------------


def _writer(it: Arriving, piece: int) -> tuple[PieceWriter, list[str]]:
    ended: list[str] = []
    writer = PieceWriter(
        it.transfer.partial,
        piece,
        expected_hash=None,
        workers=it.workers,
        done=lambda _, reason: ended.append(reason),
    )
    return writer, ended


async def test_a_piece_has_one_writer_at_a_time(workers: Workers) -> None:
    with arriving(workers) as it:
        (one, one_ended), (other, _) = _writer(it, 1), _writer(it, 1)
        assert it.transfer.claim(1, one)
        assert not it.transfer.claim(1, other)
        assert it.transfer.claim(2, other), "another piece is another matter"
        it.transfer.unclaim(1, other)  # not its to give up
        assert not it.transfer.claim(1, other)
        it.transfer.unclaim(1, one)
        assert it.transfer.claim(1, other)
        assert one_ended == []


async def test_a_piece_that_is_here_has_no_writer(workers: Workers) -> None:
    with arriving(workers) as it:
        it.put(1)
        assert not it.transfer.claim(1, _writer(it, 1)[0])


async def test_a_writer_that_stalls_gives_way(
    workers: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    with arriving(workers) as it:
        (slow, slow_ended), (fast, fast_ended) = _writer(it, 1), _writer(it, 1)
        assert it.transfer.claim(1, slow)
        slow.put([SAMPLE.piece(1)[:1000]], lambda: None)
        monkeypatch.setattr(pieces_module, "STALLED_S", -1.0)
        assert it.transfer.claim(1, fast)
        assert slow_ended == [OVERTAKEN]
        it.transfer.unclaim(1, slow)  # as whoever was told does
        assert it.transfer.writers == {1: fast}
        slow.put([b"wrong" * 1000], lambda: None)
        fast.put([SAMPLE.piece(1)], lambda: None)
        slow.put([b"wrong" * 1000], lambda: None)
        assert fast_ended == [""]
        assert os.pread(it.transfer.partial.fd, PIECE, PIECE) == SAMPLE.piece(1)


# --- rights ---------------------------------------------------------------------------------------


async def test_rights_are_kept_latest_last_and_bounded(workers: Workers) -> None:
    with arriving(workers) as it:
        grants = [OriginGrant("team/app", f"Basic {n}") for n in range(GRANTS_MOST + 3)]
        for grant in grants:
            it.transfer.granted(grant)
        it.transfer.granted(grants[5])
        assert len(it.transfer.grants) == GRANTS_MOST
        assert list(it.transfer.grants)[-2:] == [grants[-1], grants[5]]
        assert grants[0] not in it.transfer.grants


# --- what is stored -------------------------------------------------------------------------------


async def test_a_stored_blob_may_be_read_to_its_end_at_once() -> None:
    store = MemoryStore()
    reader = StoredReader(SAMPLE.spec, SAMPLE.put(store))
    assert reader.spec is SAMPLE.spec
    assert await reader.readable(0) == LENGTH
    assert await reader.readable(LENGTH + 1) == LENGTH + 1
    assert os.pread(reader.fd, LENGTH, 0) == SAMPLE.content
    reader.close()
    reader.close()
    store.close()
