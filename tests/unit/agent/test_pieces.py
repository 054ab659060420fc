"""Pieces on their way into the store: order, hashes, one writer at a time, and every buffer back.

Each rule holds while the event loop writes itself and while threads do.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest

from shoal.agent import pieces as pieces_module
from shoal.agent.pieces import (
    GONE,
    OVERTAKEN,
    PROGRESS_LEAST_BYTES,
    SEGMENT_BYTES,
    SEGMENTS_MOST,
    WRONG_HASH,
    IncomingPiece,
    PieceWriter,
    Segments,
)
from shoal.agent.workers import Workers
from shoal.core.blob import KIB
from shoal.core.errors import PeerFault, StoreFull
from shoal.core.wire.messages import Block
from shoal.testing.conformance_store import Sample
from unit.agent.driving import SlowPartial, slow_partial, threads_only, until

pytestmark = pytest.mark.usefixtures("leaves_nothing")

BLOCK_BYTES = 256 * KIB  # half a piece
SAMPLE = Sample(1200 * KIB)  # pieces of 512 KiB, and a short one


@pytest.fixture(params=["loop", "threads"])
async def either(request: pytest.FixtureRequest, leaves_nothing: None) -> AsyncIterator[Workers]:
    """Workers whose loop works itself, or only ever threads."""
    if request.param == "threads":
        with threads_only() as workers:
            yield workers
    else:
        workers = Workers(1)
        yield workers
        workers.stop()


@dataclass(slots=True)
class Ended:
    """What a writer's `done` was told, which has to be once."""

    told: list[tuple[bytes | None, str]] = field(default_factory=list)

    def __call__(self, hash_: bytes | None, reason: str) -> None:
        """Hear."""
        assert not self.told, "told twice"
        self.told.append((hash_, reason))

    @property
    def is_told(self) -> bool:
        """Whether it was."""
        return bool(self.told)


@dataclass(slots=True)
class Writing:
    """A writer of one piece of SAMPLE, and what is seen of it."""

    partial: SlowPartial
    workers: Workers
    piece: int = 1
    expected_hash: bytes | None = None
    ended: Ended = field(default_factory=Ended)
    given_back: list[int] = field(default_factory=list)
    writer: PieceWriter = field(init=False)

    def __post_init__(self) -> None:
        self.writer = PieceWriter(
            self.partial,
            self.piece,
            expected_hash=self.expected_hash,
            workers=self.workers,
            done=self.ended,
        )

    def put(self, data: bytes) -> None:
        """Put the next bytes; `given_back` hears when they may be reused."""
        self.writer.put([data], lambda: self.given_back.append(len(data)))


def halves(piece: int = 1) -> tuple[bytes, bytes]:
    data = SAMPLE.piece(piece)
    return data[: 100 * KIB], data[100 * KIB :]


def content(partial: SlowPartial, piece: int = 1) -> bytes:
    return os.pread(partial.fd, SAMPLE.spec.size(piece), SAMPLE.spec.offset(piece))


# --- the writer -----------------------------------------------------------------------------------


@pytest.mark.parametrize("piece", [0, 1, 2])
@pytest.mark.parametrize("expects", [True, False])
async def test_a_piece_is_written_hashed_and_marked(
    either: Workers, piece: int, expects: bool
) -> None:
    with slow_partial(SAMPLE.spec) as partial:
        hash_ = SAMPLE.hash(piece)
        writing = Writing(partial, either, piece, hash_ if expects else None)
        for part in halves(piece):
            writing.put(part)
        await until(lambda: writing.ended.is_told)
        assert writing.ended.told == [(hash_, "")]
        assert partial.held() == {piece: hash_}
        assert content(partial, piece) == SAMPLE.piece(piece)
        assert writing.given_back == [len(part) for part in halves(piece)]


async def test_a_piece_in_many_buffers_is_one_piece(either: Workers) -> None:
    with slow_partial(SAMPLE.spec) as partial:
        writing = Writing(partial, either, 1, SAMPLE.hash(1))
        data = SAMPLE.piece(1)
        buffers = [data[at : at + 1000] for at in range(0, len(data), 1000)]
        writing.writer.put([memoryview(b) for b in buffers[:50]], lambda: None)
        writing.writer.put([bytearray(b) for b in buffers[50:]], lambda: None)
        await until(lambda: writing.ended.is_told)
        assert partial.held() == {1: SAMPLE.hash(1)}


async def test_a_piece_with_the_wrong_hash_is_not_marked(either: Workers) -> None:
    with slow_partial(SAMPLE.spec) as partial:
        writing = Writing(partial, either, 1, SAMPLE.hash(0))
        for part in halves():
            writing.put(part)
        await until(lambda: writing.ended.is_told)
        assert writing.ended.told == [(None, WRONG_HASH)]
        assert partial.held() == {}
        assert len(writing.given_back) == 2


async def test_a_full_disk_ends_the_piece_with_what_the_store_says(either: Workers) -> None:
    with slow_partial(SAMPLE.spec) as partial:
        partial.error = StoreFull("/store: no space left")
        writing = Writing(partial, either)
        for part in halves():
            writing.put(part)
        await until(lambda: writing.ended.is_told)
        assert writing.ended.told == [(None, "/store: no space left")]
        await until(lambda: len(writing.given_back) == 2)
        assert partial.held() == {}


async def test_any_other_error_of_a_store_ends_the_piece_too(either: Workers) -> None:
    with slow_partial(SAMPLE.spec) as partial:
        partial.error = ValueError("a bug in the store")
        writing = Writing(partial, either)
        writing.put(halves()[0])
        await until(lambda: writing.ended.is_told)
        assert writing.ended.told == [(None, "ValueError('a bug in the store')")]


async def test_a_writer_that_is_overtaken_never_writes_again(either: Workers) -> None:
    with slow_partial(SAMPLE.spec) as partial:
        writing = Writing(partial, either)
        first, rest = halves()
        writing.put(first)
        await writing.writer.drained()
        writing.writer.abandon(OVERTAKEN)
        assert writing.ended.told == [(None, OVERTAKEN)]
        partial.inner.write(SAMPLE.spec.offset(1), SAMPLE.piece(1))  # by whoever is faster
        writing.put(bytes(len(rest)))
        writing.writer.abandon(GONE)
        await either.run(int)
        assert content(partial) == SAMPLE.piece(1)
        assert partial.held() == {}
        assert writing.given_back == [len(first), len(rest)]


async def test_the_end_is_told_only_when_nothing_more_will_be_written() -> None:
    with slow_partial(SAMPLE.spec, is_open=False) as partial, threads_only() as workers:
        writing = Writing(partial, workers)
        first, rest = halves()
        writing.put(first)
        writing.put(rest)
        await until(lambda: partial.waiting == 1)
        writing.writer.abandon(GONE)
        assert writing.given_back == [len(rest)], "what was not begun is free at once"
        await asyncio.sleep(0.01)
        assert not writing.ended.is_told, "a thread may still write: nobody else must yet"
        partial.gate.set()
        await until(lambda: writing.ended.is_told)
        assert writing.ended.told == [(None, GONE)]
        assert partial.written == [(SAMPLE.spec.offset(1), len(first))]
        assert writing.given_back == [len(rest), len(first)]


async def test_buffers_come_back_only_when_they_are_written() -> None:
    with slow_partial(SAMPLE.spec, is_open=False) as partial, threads_only() as workers:
        writing = Writing(partial, workers)
        for part in halves():
            writing.put(part)
        await until(lambda: partial.waiting == 1)
        assert writing.given_back == []
        drained = asyncio.ensure_future(writing.writer.drained())
        await asyncio.sleep(0.01)
        assert not drained.done()
        partial.gate.set()
        await drained
        await until(lambda: writing.ended.is_told)
        assert len(writing.given_back) == 2


async def test_waiting_for_a_writer_does_not_hold_it_up_when_cancelled() -> None:
    with slow_partial(SAMPLE.spec, is_open=False) as partial, threads_only() as workers:
        writing = Writing(partial, workers)
        writing.put(SAMPLE.piece(1))
        impatient = asyncio.ensure_future(writing.writer.drained())
        patient = asyncio.ensure_future(writing.writer.drained())
        await asyncio.sleep(0)
        impatient.cancel()
        partial.gate.set()
        await patient
        await until(lambda: writing.ended.is_told)
        assert impatient.cancelled()


async def test_a_writer_stalls_when_no_bytes_come_not_when_the_disk_is_slow(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with slow_partial(SAMPLE.spec, is_open=False) as partial, threads_only() as workers:
        writing = Writing(partial, workers)
        assert not writing.writer.stalled
        monkeypatch.setattr(pieces_module, "STALLED_S", -1.0)
        assert writing.writer.stalled
        writing.put(halves()[0])
        assert not writing.writer.stalled
        partial.gate.set()
        await writing.writer.drained()
        assert writing.writer.stalled
        writing.put(halves()[1])
        assert not writing.writer.stalled
        await until(lambda: writing.ended.is_told)


# --- buffers --------------------------------------------------------------------------------------


def test_buffers_are_bounded_and_reused() -> None:
    freed: list[None] = []
    segments = Segments(on_free=lambda: freed.append(None))
    taken = [segment for _ in range(SEGMENTS_MOST) if (segment := segments.take()) is not None]
    assert len(taken) == SEGMENTS_MOST
    assert {len(segment) for segment in taken} == {SEGMENT_BYTES}
    assert segments.take() is None
    assert segments.out == SEGMENTS_MOST
    first = taken.pop()
    segments.give(first)
    assert segments.take() is first
    for segment in [first, *taken]:
        segments.give(segment)
    assert segments.out == 0
    assert len(segments.free) <= SEGMENTS_MOST // 4, "memory goes back when it is quiet"


def test_whoever_found_no_buffer_hears_of_the_next_free_one_once() -> None:
    freed: list[int] = []
    segments = Segments(on_free=lambda: freed.append(segments.out))
    taken = [segment for _ in range(SEGMENTS_MOST) if (segment := segments.take()) is not None]
    segments.give(taken.pop())
    assert freed == [], "nobody asked"
    segment = segments.take()
    assert segment is not None
    assert segments.take() is None
    segments.give(segment)
    segments.give(taken.pop())
    assert freed == [SEGMENTS_MOST - 1]


# --- pieces from peers ----------------------------------------------------------------------------


@dataclass(slots=True)
class Arriving:
    """A piece from a peer, and everything around it as the driver has it."""

    writing: Writing
    segments: Segments
    incoming: IncomingPiece = field(init=False)

    def __post_init__(self) -> None:
        self.incoming = IncomingPiece(
            self.writing.writer, SAMPLE.spec, self.writing.piece, self.segments
        )

    def block(self, offset: int, length: int) -> Block:
        """Return a block of the piece."""
        return Block(SAMPLE.spec.tag, self.writing.piece, offset, length, bytes(32))

    def receive(self, offset: int, length: int) -> bool:
        """Let a block arrive; return whether the piece is whole."""
        block = self.block(offset, length)
        place = self.incoming.place(block)
        assert place is not None
        assert len(place) == length
        place[:] = SAMPLE.piece(self.writing.piece)[offset : offset + length]
        return self.incoming.arrived(block)

    def receive_all(self, *, block_bytes: int = BLOCK_BYTES) -> None:
        """Let the rest of the piece arrive."""
        size = SAMPLE.spec.size(self.writing.piece)
        for at in range(0, size, block_bytes):
            length = min(block_bytes, size - at)
            assert self.receive(at, length) is (at + length == size)


@contextmanager
def arriving(workers: Workers, *, piece: int = 1, is_open: bool = True) -> Iterator[Arriving]:
    with slow_partial(SAMPLE.spec, is_open=is_open) as partial:
        segments = Segments(on_free=lambda: None)
        yield Arriving(Writing(partial, workers, piece, SAMPLE.hash(piece)), segments)
        assert segments.out == 0


@pytest.mark.parametrize("piece", [1, 2])
@pytest.mark.parametrize("segment_blocks", [1, 2, 8])
async def test_blocks_become_a_piece(
    either: Workers, piece: int, segment_blocks: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pieces_module, "SEGMENT_BYTES", segment_blocks * BLOCK_BYTES)
    with arriving(either, piece=piece) as it:
        it.receive_all()
        await until(lambda: it.writing.ended.is_told)
        assert it.writing.ended.told == [(SAMPLE.hash(piece), "")]
        assert content(it.writing.partial, piece) == SAMPLE.piece(piece)


async def test_bytes_are_progress_when_enough_of_them_have_come(either: Workers) -> None:
    with arriving(either) as it:
        few = PROGRESS_LEAST_BYTES - 1
        it.receive(0, few)
        assert it.incoming.progress() == 0, "a drip"
        it.receive(few, 1)
        assert it.incoming.progress() == PROGRESS_LEAST_BYTES
        assert it.incoming.progress() == 0
        it.incoming.abandon(GONE)


@pytest.mark.parametrize(
    ("offset", "length"),
    [
        (0, BLOCK_BYTES),  # again
        (BLOCK_BYTES + 1, 10),  # a gap
        (2 * BLOCK_BYTES, 10),  # beyond the end
        (BLOCK_BYTES, BLOCK_BYTES + 1),  # longer than the piece
        (2**32 - 1, 10),
    ],
)
async def test_blocks_come_in_order_or_not_at_all(
    either: Workers, offset: int, length: int
) -> None:
    with arriving(either) as it:
        it.receive(0, BLOCK_BYTES)
        with pytest.raises(PeerFault, match=f"does not continue piece 1 at {BLOCK_BYTES}"):
            it.incoming.place(it.block(offset, length))
        it.incoming.abandon(GONE)


async def test_a_block_may_not_cross_a_buffer(
    either: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pieces_module, "SEGMENT_BYTES", BLOCK_BYTES)
    with arriving(either) as it:
        it.receive(0, 100)
        with pytest.raises(PeerFault):
            it.incoming.place(it.block(100, BLOCK_BYTES))
        it.receive(100, BLOCK_BYTES - 100)
        it.incoming.abandon(GONE)
        await until(lambda: it.writing.ended.is_told)


def test_fewer_buffers_are_given_back_and_more_are_told_of() -> None:
    freed: list[int] = []
    segments = Segments(on_free=lambda: freed.append(segments.out))
    taken = [segment for _ in range(8) if (segment := segments.take()) is not None]
    for segment in taken[2:]:
        segments.give(segment)
    segments.limit(2)
    assert segments.free == []
    assert segments.take() is None
    segments.limit(4)
    assert freed == [2]
    assert segments.take() is not None


async def test_without_a_free_buffer_a_block_has_no_place_until_there_is_one(
    either: Workers,
) -> None:
    with arriving(either) as it:
        it.segments.limit(1)
        other = it.segments.take()
        assert other is not None
        block = it.block(0, 100)
        assert it.incoming.place(block) is None
        assert it.incoming.place(block) is None
        it.segments.give(other)
        it.receive_all()
        await until(lambda: it.writing.ended.is_told)


def _lose(it: Arriving) -> None:
    it.incoming.abandon(GONE)


def _overtake(it: Arriving) -> None:
    it.writing.writer.abandon(OVERTAKEN)
    it.incoming.release()


@pytest.mark.parametrize("end", [_lose, _overtake])
@pytest.mark.parametrize("blocks", [0, 1])
async def test_every_buffer_comes_back_when_a_piece_ends_early(
    either: Workers, end: Callable[[Arriving], None], blocks: int
) -> None:
    with arriving(either) as it:
        if blocks:
            it.receive(0, BLOCK_BYTES)
        end(it)
        assert it.segments.out == 0
        assert it.writing.ended.told[0][0] is None


async def test_a_buffer_that_is_being_received_into_is_nobody_elses(either: Workers) -> None:
    with arriving(either) as it:
        it.receive(0, 1000)
        block = it.block(1000, 1000)
        place = it.incoming.place(block)
        assert place is not None
        it.writing.writer.abandon(OVERTAKEN)
        assert not it.incoming.release(), "the link still puts bytes there"
        assert it.segments.out == 1
        place[:] = bytes(1000)
        it.incoming.arrived(block)
        assert it.segments.out == 0
        assert it.writing.partial.written == []


async def test_a_buffer_that_was_being_received_into_comes_back_when_the_link_is_lost(
    either: Workers,
) -> None:
    with arriving(either) as it:
        it.incoming.place(it.block(0, 1000))
        assert not it.incoming.release()
        it.incoming.abandon(GONE)
        assert it.segments.out == 0


async def test_a_buffer_comes_back_from_a_full_disk(either: Workers) -> None:
    with arriving(either) as it:
        it.writing.partial.error = StoreFull("full")
        it.receive_all()
        await until(lambda: it.writing.ended.is_told)
        assert it.writing.ended.told == [(None, "full")]
        await until(lambda: it.segments.out == 0)
