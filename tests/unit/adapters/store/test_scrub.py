"""The scrub: reads every blob again, no faster than told, and never while the node is busy."""

import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from shoal.adapters.store.disk import DiskStore
from shoal.adapters.store.layout import Layout
from shoal.adapters.store.scrub import BUSY_LOOK_S, Scrubber, ScrubStopped
from shoal.core.digest import Digest
from shoal.core.errors import StoreError
from shoal.testing.conformance_store import Sample

MIB = 1 << 20


class Clock(threading.Event):
    """A clock that moves when it is waited on, and is never set unless told so."""

    def __init__(self, *, stops_at_s: float = float("inf")) -> None:
        super().__init__()
        self.now_s = 0.0
        self.stops_at_s = stops_at_s

    def wait(self, timeout: float | None = None) -> bool:
        """Pass the time."""
        self.now_s += timeout or 0.0
        return self.now_s >= self.stops_at_s


@dataclass
class Blobs:
    """A store of blobs of 10 MiB, read in blocks of 1 MiB."""

    damaged: set[Digest] = field(default_factory=set)
    unreadable: set[Digest] = field(default_factory=set)
    kept: tuple[Digest, ...] = tuple(Digest.parse(f"sha256:{n:064x}") for n in range(3))

    def digests(self) -> Iterable[tuple[Digest, int]]:
        """Return what there is."""
        return [(digest, 10 * MIB) for digest in self.kept]

    def verify(self, digest: Digest, *, pace: Callable[[int], None]) -> bool:
        """Read it, as far as the pace lets one."""
        if digest in self.unreadable:
            raise StoreError("the disk failed")
        for _ in range(10):
            pace(MIB)
        return digest not in self.damaged


def scrubber(
    blobs: Blobs, clock: Clock, *, is_busy: Callable[[], bool] = lambda: False
) -> Scrubber:
    return Scrubber(
        blobs, rate_bytes_per_s=MIB, is_busy=is_busy, now_s=lambda: clock.now_s, stop=clock
    )


def test_a_round_reads_every_blob_at_the_rate_that_was_set() -> None:
    clock = Clock()
    found = scrubber(Blobs(), clock).round()
    assert (found.blobs, found.read_bytes, found.dropped) == (3, 30 * MIB, 0)
    assert clock.now_s == pytest.approx(30)


def test_damaged_blobs_are_counted_and_one_that_cannot_be_read_does_not_end_the_round() -> None:
    blobs = Blobs()
    blobs.damaged.add(blobs.kept[0])
    blobs.unreadable.add(blobs.kept[1])
    found = scrubber(blobs, Clock()).round()
    assert (found.blobs, found.read_bytes, found.dropped) == (3, 20 * MIB, 1)


def test_nothing_is_read_while_the_node_is_busy() -> None:
    clock = Clock()
    busy = [True] * 20
    scrub = scrubber(Blobs(), clock, is_busy=lambda: bool(busy and busy.pop()))
    scrub.round()
    assert clock.now_s == pytest.approx(30 + 20 * BUSY_LOOK_S, abs=1)


def test_a_scrub_that_is_told_to_stop_ends_in_the_middle_of_a_blob() -> None:
    scrub = scrubber(Blobs(), Clock(stops_at_s=5.0))
    with pytest.raises(ScrubStopped):
        scrub.round()
    assert scrub.read_bytes == 5 * MIB


def test_a_damaged_file_of_a_real_store_is_dropped_and_others_stay(tmp_path: Path) -> None:
    store = DiskStore(tmp_path, quota_bytes=1 << 40, reserve_bytes=0)
    right, wrong = Sample(), Sample(seed=1)
    for sample in (right, wrong):
        sample.keep(store)
    with Layout(tmp_path).blob(wrong.digest).open("r+b") as file:
        file.write(b"\x00\x01\x02")
    found = Scrubber(store, rate_bytes_per_s=1 << 40, is_busy=lambda: False).round()
    assert (found.blobs, found.dropped, store.dropped) == (2, 1, 1)
    assert [digest for digest, _ in store.digests()] == [right.digest]
    store.close()
