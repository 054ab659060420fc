"""Runs of pieces from the registry: what is asked, what is kept, and that the end is told."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest
from prometheus_client import CollectorRegistry

from shoal.adapters.telemetry.metrics import Metrics
from shoal.agent import registry_runs as registry_runs_module
from shoal.agent.pieces import OVERTAKEN, PieceWriter
from shoal.agent.registry_runs import RegistryRuns
from shoal.agent.transfer import Transfer
from shoal.agent.workers import Workers
from shoal.core.blob import KIB
from shoal.core.errors import OriginDenied, OriginError, OriginLied, StoreFull
from shoal.core.peer import PeerId
from shoal.core.swarm import events as on
from shoal.core.swarm.events import REGISTRY, RegistryFault
from shoal.testing.conformance_store import Sample
from unit.agent.driving import (
    CHUNK_BYTES,
    GRANT,
    OTHER_GRANT,
    FakeOrigin,
    SlowPartial,
    slow_partial,
    threads_only,
    turns,
    until,
)

pytestmark = pytest.mark.usefixtures("leaves_nothing")

SAMPLE = Sample(2200 * KIB)  # four pieces of 512 KiB and a short one
SPEC = SAMPLE.spec
PIECE = SPEC.piece_bytes
TAG = SPEC.tag


@dataclass(slots=True)
class Fetching:
    """Runs of one blob, and what the swarm is told of them."""

    partial: SlowPartial
    workers: Workers
    origin: FakeOrigin = field(default_factory=FakeOrigin)
    registry: CollectorRegistry = field(default_factory=CollectorRegistry)
    told: list[on.Event] = field(default_factory=list)
    transfer: Transfer = field(init=False)
    runs: RegistryRuns = field(init=False)

    def __post_init__(self) -> None:
        self.transfer = Transfer(
            self.partial, self.workers, on_reader=lambda _: None, on_verified=lambda *_: None
        )
        self.transfer.granted(GRANT)
        self.origin.add(SAMPLE)
        self.runs = RegistryRuns(
            origin=self.origin,
            workers=self.workers,
            metrics=Metrics(self.registry),
            tell=self.told.append,
            stored=self._stored,
        )

    def _stored(self, transfer: Transfer, piece: int, hash_: bytes, source: PeerId) -> None:
        transfer.stored(piece, hash_, source)
        self.told.append(on.PieceStored(TAG, piece, source))

    @property
    def ended(self) -> list[on.RegistryEnded]:
        """The ends that were told."""
        return [event for event in self.told if isinstance(event, on.RegistryEnded)]

    async def end(self) -> on.RegistryEnded:
        """Wait until the run has ended; nothing may be told after that."""
        await until(lambda: bool(self.ended))
        await turns()
        (ended,) = self.ended
        assert self.told[-1] is ended
        assert len(self.runs) == 0
        assert self.origin.open == 0
        return ended

    def pieces(self) -> set[int]:
        """Which pieces are marked; their bytes are right."""
        held = self.partial.held()
        assert all(hash_ == SAMPLE.hash(piece) for piece, hash_ in held.items())
        assert set(held) == {e.piece for e in self.told if isinstance(e, on.PieceStored)}
        return set(held)

    def count(self, name: str, **labels: str) -> float:
        """Return what a metric shows."""
        return self.registry.get_sample_value(name, labels) or 0.0


@asynccontextmanager
async def fetching(
    workers: Workers | None = None, *, is_open: bool = True
) -> AsyncIterator[Fetching]:
    own = Workers(2) if workers is None else None
    with slow_partial(SPEC, is_open=is_open) as partial:
        it = Fetching(partial, workers or own or Workers(0))
        try:
            yield it
        finally:
            partial.gate.set()
            it.origin.go_on.set()
            await it.runs.stop()
            assert it.transfer.writers == {}
            await until(lambda: not it.transfer._hashing)
            if own is not None:
                own.stop()


# --- what comes -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("first", "count"), [(0, 5), (1, 2), (4, 1)])
async def test_a_run_is_one_request_whose_pieces_are_stored_as_they_come(
    first: int, count: int
) -> None:
    async with fetching() as it:
        it.runs.begin(it.transfer, first, count)
        assert len(it.runs) == 1
        assert await it.end() == on.RegistryEnded(TAG, first)
        end = min((first + count) * PIECE, SPEC.length_bytes)
        assert it.origin.asked == [(GRANT, first * PIECE, end)]
        assert it.pieces() == set(range(first, first + count))
        assert it.transfer.sources.origin_bytes == end - first * PIECE
        assert it.count("shoal_origin_bytes_total", kind="blob") == end - first * PIECE
        assert it.count("shoal_origin_requests_total", result="ok") == 1
        assert it.count("shoal_leases_lost_total") == 0
        assert it.transfer.suppliers == dict.fromkeys(range(first, first + count), REGISTRY)


async def test_pieces_are_told_before_the_end_also_when_threads_finish_in_another_order() -> None:
    with threads_only(4) as workers:
        async with fetching(workers, is_open=False) as it:
            it.runs.begin(it.transfer, 0, 5)
            await until(lambda: it.partial.waiting == 4)  # four pieces, each in a thread
            assert it.told == []
            it.partial.gate.set()
            assert (await it.end()).fault is None
            assert it.pieces() == {0, 1, 2, 3, 4}


async def test_what_is_here_already_is_not_asked_for() -> None:
    async with fetching() as it:
        for piece in (0, 2, 4):
            SAMPLE.put_piece(it.partial, piece)
            it.transfer.stored(piece, SAMPLE.hash(piece), PeerId("127.0.0.9:1"))
        it.runs.begin(it.transfer, 0, 5)
        await until(lambda: bool(it.ended))
        assert it.origin.asked == [(GRANT, PIECE, 4 * PIECE)]
        assert it.partial.held() == SAMPLE.hashes()
        it.told.clear()
        it.runs.begin(it.transfer, 0, 5)
        assert (await it.end()).fault is None
        assert len(it.origin.asked) == 1, "there was nothing left to ask for"


async def test_a_piece_that_a_peer_is_sending_is_left_to_it() -> None:
    async with fetching() as it:
        theirs = PieceWriter(
            it.partial, 1, expected_hash=None, workers=it.workers, done=lambda *_: None
        )
        assert it.transfer.claim(1, theirs)
        it.runs.begin(it.transfer, 0, 3)
        assert (await it.end()).fault is None
        assert it.pieces() == {0, 2}
        assert it.transfer.writers == {1: theirs}
        it.transfer.unclaim(1, theirs)


async def test_a_run_whose_piece_is_overtaken_goes_on_with_the_next() -> None:
    async with fetching() as it:
        it.origin.hold_from = 600 * KIB  # in the second piece
        it.runs.begin(it.transfer, 0, 3)
        await until(lambda: 1 in it.transfer.writers)
        await until(lambda: it.pieces() == {0})
        it.transfer.writers[1].abandon(OVERTAKEN)
        it.origin.go_on.set()
        assert (await it.end()).fault is None
        assert it.pieces() == {0, 2}
        assert on.PieceSpoiled(TAG, 1, REGISTRY) in it.told


async def test_progress_is_told_within_a_long_piece(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry_runs_module, "PROGRESS_S", 0.0)
    async with fetching() as it:
        it.runs.begin(it.transfer, 1, 1)
        await it.end()
        assert it.told == [
            *[on.PieceProgressed(TAG, 1, REGISTRY)] * (SAMPLE.spec.size(1) // CHUNK_BYTES),
            on.PieceStored(TAG, 1, REGISTRY),
            on.RegistryEnded(TAG, 1),
        ]


async def test_a_slow_disk_is_one_batch_behind_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry_runs_module, "BATCH_BYTES", CHUNK_BYTES)
    with threads_only(1) as workers:
        async with fetching(workers, is_open=False) as it:
            it.runs.begin(it.transfer, 1, 1)
            await until(lambda: it.partial.waiting == 1)
            await turns(20)
            assert it.transfer.sources.origin_bytes == 2 * CHUNK_BYTES
            it.partial.gate.set()
            assert (await it.end()).fault is None
            assert it.pieces() == {1}


async def test_a_run_that_is_under_way_is_not_begun_again() -> None:
    async with fetching() as it:
        it.runs.begin(it.transfer, 0, 2)
        it.runs.begin(it.transfer, 0, 2)
        await it.end()
        assert len(it.origin.asked) == 1


async def test_runs_of_other_pieces_go_side_by_side() -> None:
    async with fetching() as it:
        it.runs.begin(it.transfer, 0, 2)
        it.runs.begin(it.transfer, 2, 3)
        assert len(it.runs) == 2
        await until(lambda: len(it.ended) == 2)
        assert it.pieces() == {0, 1, 2, 3, 4}


# --- what does not --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "result", "retry_after_s"),
    [
        (OriginError("cut early"), "failed", 0.0),
        (OriginError("503", status=503, retry_after_s=7.0), "failed", 7.0),
        (OriginError("429", status=429, retry_after_s=3.5), "limited", 3.5),
        (OriginLied("another length"), "lied", 0.0),
    ],
    ids=["cut", "503", "429", "lied"],
)
async def test_an_answer_that_is_cut_keeps_the_pieces_that_came_whole(
    error: OriginError, result: str, retry_after_s: float
) -> None:
    async with fetching() as it:
        it.origin.cuts.append((2 * PIECE + 1000, error))
        it.runs.begin(it.transfer, 0, 5)
        ended = await it.end()
        fault = RegistryFault.LIMITED if result == "limited" else RegistryFault.FAILED
        assert ended == on.RegistryEnded(TAG, 0, fault, retry_after_s)
        assert it.pieces() == {0, 1}
        assert on.PieceSpoiled(TAG, 2, REGISTRY) in it.told
        assert it.count("shoal_origin_requests_total", result=result) == 1
        assert it.count("shoal_leases_lost_total") == 1
        assert it.transfer.failure is None


async def test_pieces_that_came_whole_count_also_when_they_are_written_after_the_cut() -> None:
    with threads_only(2) as workers:
        async with fetching(workers, is_open=False) as it:
            it.origin.cuts.append((2 * PIECE, OriginError("cut")))
            it.runs.begin(it.transfer, 0, 5)
            await until(lambda: it.origin.cuts == [] and it.origin.open == 0)
            await turns(20)
            assert it.ended == [], "two pieces are still being written"
            it.partial.gate.set()
            assert (await it.end()).fault is RegistryFault.FAILED
            assert it.pieces() == {0, 1}


async def test_a_registry_that_has_nothing_of_it_fails_the_run() -> None:
    async with fetching() as it:
        it.origin.blobs.clear()
        it.runs.begin(it.transfer, 0, 1)
        assert (await it.end()).fault is RegistryFault.FAILED


# --- by which right -------------------------------------------------------------------------------


async def test_a_right_that_is_denied_is_dropped_and_the_next_is_tried() -> None:
    async with fetching() as it:
        it.transfer.granted(OTHER_GRANT)  # the latest is tried first
        it.origin.denied.add(OTHER_GRANT)
        it.runs.begin(it.transfer, 0, 5)
        assert (await it.end()).fault is None
        assert [grant for grant, _, _ in it.origin.asked] == [OTHER_GRANT, GRANT]
        assert list(it.transfer.grants) == [GRANT]
        assert it.pieces() == {0, 1, 2, 3, 4}


async def test_a_right_that_ends_in_the_middle_is_followed_by_the_next_from_there() -> None:
    async with fetching() as it:
        it.transfer.granted(OTHER_GRANT)
        it.origin.cuts.append((2 * PIECE + 5, OriginDenied("expired", status=401)))
        it.runs.begin(it.transfer, 0, 5)
        assert (await it.end()).fault is None
        assert it.origin.asked == [
            (OTHER_GRANT, 0, SPEC.length_bytes),
            (GRANT, 2 * PIECE, SPEC.length_bytes),
        ]
        assert it.pieces() == {0, 1, 2, 3, 4}


async def test_without_a_right_that_is_left_the_swarm_hears_of_it() -> None:
    async with fetching() as it:
        it.transfer.granted(OTHER_GRANT)
        it.origin.denied |= {GRANT, OTHER_GRANT}
        it.runs.begin(it.transfer, 0, 1)
        assert (await it.end()).fault is RegistryFault.DENIED
        assert it.transfer.grants == {}
        assert it.count("shoal_origin_requests_total", result="denied") == 1
        it.told.clear()
        it.runs.begin(it.transfer, 0, 1)  # nobody's right is there to ask with
        assert (await it.end()).fault is RegistryFault.DENIED
        assert len(it.origin.asked) == 2


# --- the store ------------------------------------------------------------------------------------


async def test_a_full_disk_fails_the_transfer_and_breaks_off_the_request() -> None:
    async with fetching() as it:
        it.partial.error = StoreFull("/store: no space left")
        it.runs.begin(it.transfer, 0, 5)
        await it.end()
        assert it.transfer.failure == "cannot be stored: /store: no space left"
        assert it.pieces() == set()
        assert it.transfer.sources.origin_bytes < 3 * PIECE, "the rest was not taken"


async def test_a_transfer_that_nobody_wants_any_more_is_not_fetched_to_its_end() -> None:
    async with fetching() as it:
        it.origin.hold_from = PIECE
        it.runs.begin(it.transfer, 0, 5)
        await until(lambda: it.pieces() == {0})
        it.transfer.fail("nobody wants it any more")
        it.origin.go_on.set()
        await it.end()
        assert it.transfer.sources.origin_bytes < 2 * PIECE
        assert it.pieces() == {0}


# --- broken off -----------------------------------------------------------------------------------


@pytest.mark.parametrize("turn", range(12))
async def test_the_end_of_a_run_that_is_broken_off_is_told_whenever_that_is(turn: int) -> None:
    async with fetching() as it:
        it.origin.hold_from = PIECE + 1000
        it.runs.begin(it.transfer, 0, 5)
        await turns(turn)
        it.runs.end(TAG, 0)
        it.runs.end(TAG, 0)
        ended = await it.end()
        assert ended == on.RegistryEnded(TAG, 0), "what was no longer needed has not failed"
        assert it.count("shoal_leases_lost_total") == 0
        assert it.pieces() <= {0}
        it.runs.end(TAG, 0)  # harmless


async def test_a_run_whose_pieces_came_from_elsewhere_has_not_failed() -> None:
    async with fetching() as it:
        it.origin.hold_from = 1000
        it.runs.begin(it.transfer, 1, 2)
        await until(lambda: it.origin.open == 1)
        for piece in (1, 2):
            SAMPLE.put_piece(it.partial, piece)
            it.transfer.stored(piece, SAMPLE.hash(piece), PeerId("127.0.0.9:1"))
        it.runs.end(TAG, 1)
        assert await it.end() == on.RegistryEnded(TAG, 1)
        assert it.count("shoal_leases_lost_total") == 0


async def test_a_run_that_ends_may_be_followed_by_another_of_the_same_pieces_at_once() -> None:
    async with fetching() as it:
        it.origin.cuts.append((10, OriginError("cut")))

        def again(event: on.Event) -> None:
            it.told.append(event)
            if len(it.ended) == 1 and event is it.ended[0]:
                it.origin.hold_from = 10
                it.runs.begin(it.transfer, 0, 5)

        it.runs._tell = again
        it.runs.begin(it.transfer, 0, 5)
        await until(lambda: len(it.ended) == 1)
        await turns()
        assert len(it.runs) == 1
        it.runs.end(TAG, 0)
        await until(lambda: len(it.ended) == 2)
        assert len(it.runs) == 0


async def test_stopping_ends_every_run_and_tells() -> None:
    async with fetching() as it:
        it.origin.hold_from = 1000
        it.runs.begin(it.transfer, 0, 2)
        it.runs.begin(it.transfer, 2, 1)
        await until(lambda: it.origin.open == 2)
        it.runs.begin(it.transfer, 3, 1)  # has not taken its first step
        await it.runs.stop()
        await asyncio.sleep(0)
        assert sorted(ended.first for ended in it.ended) == [0, 2, 3]
        assert it.origin.open == 0
