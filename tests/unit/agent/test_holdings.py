"""The blobs that are offered to peers: the record survives, descriptors do not pile up."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from blake3 import blake3

from shoal.adapters.store.memory import MemoryStore
from shoal.agent import holdings as holdings_module
from shoal.agent.holdings import IDLE_S, Holdings, piece_hash
from shoal.core.blob import KIB, BlobSpec, ContentKind
from shoal.testing.conformance_store import Sample
from unit.agent.driving import descriptors

SAMPLE = Sample(1200 * KIB)
TAG = SAMPLE.spec.tag


@pytest.fixture
def store() -> Iterator[MemoryStore]:
    before = descriptors()
    made = MemoryStore()
    yield made
    made.close()
    assert descriptors() == before


@pytest.fixture
def record(tmp_path: Path) -> Path:
    return tmp_path / "pulls.jsonl"


def keep(store: MemoryStore, *samples: Sample) -> None:
    for sample in samples:
        sample.put(store).close()


def test_what_was_pulled_is_offered_again_after_a_restart(store: MemoryStore, record: Path) -> None:
    manifest = Sample(300, seed=1)
    spec = BlobSpec("docker.io", manifest.digest, 300, ContentKind.MANIFEST)
    keep(store, SAMPLE, manifest)
    first = Holdings(store, record)
    assert first.load() == []
    first.add(SAMPLE.spec, SAMPLE.hashes())
    first.add(spec, manifest.hashes())
    assert len(first) == 2
    second = Holdings(store, record)
    assert second.load() == [SAMPLE.spec, spec]
    assert len(second) == 2
    assert second.spec(spec.tag) == spec
    holding = second.open(TAG, now_s=0.0)
    assert holding is not None
    assert holding.hashes == {}, "pieces are hashed when they are asked for"
    second.close()


def test_what_the_store_has_without_a_recorded_pull_is_not_offered(
    store: MemoryStore, record: Path
) -> None:
    keep(store, SAMPLE)
    holdings = Holdings(store, record)
    assert holdings.load() == []
    assert holdings.open(TAG, now_s=0.0) is None
    assert holdings.spec(TAG) is None


def test_what_the_store_has_lost_is_no_longer_recorded(store: MemoryStore, record: Path) -> None:
    gone = Sample(seed=1)
    holdings = Holdings(store, record)
    holdings.add(SAMPLE.spec, {})
    holdings.add(gone.spec, {})
    keep(store, SAMPLE)
    assert Holdings(store, record).load() == [SAMPLE.spec]
    assert len(record.read_text().splitlines()) == 1


def test_a_blob_of_another_length_than_recorded_is_not_offered(
    store: MemoryStore, record: Path
) -> None:
    keep(store, SAMPLE)
    lie = BlobSpec(SAMPLE.spec.registry, SAMPLE.digest, SAMPLE.spec.length_bytes + 1)
    Holdings(store, record).add(lie, {})
    assert Holdings(store, record).load() == []


def test_a_blob_pulled_twice_is_recorded_once(store: MemoryStore, record: Path) -> None:
    keep(store, SAMPLE)
    holdings = Holdings(store, record)
    holdings.add(SAMPLE.spec, {})
    holdings.add(SAMPLE.spec, SAMPLE.hashes())
    assert len(record.read_text().splitlines()) == 1
    holding = holdings.open(TAG, now_s=0.0)
    assert holding is not None
    assert holding.hashes == SAMPLE.hashes()
    holdings.close()


def test_one_blob_of_two_registries_is_two_holdings(store: MemoryStore, record: Path) -> None:
    keep(store, SAMPLE)
    other = BlobSpec("mirror.example", SAMPLE.digest, SAMPLE.spec.length_bytes)
    holdings = Holdings(store, record)
    holdings.add(SAMPLE.spec, {})
    holdings.add(other, {})
    assert Holdings(store, record).load() == [SAMPLE.spec, other]


DAMAGED = [
    "",
    "{",
    "null",
    "[]",
    "3",
    '"text"',
    "{}",
    '{"registry": "r", "digest": "sha256:short", "length_bytes": 3, "kind": "blob"}',
    json.dumps({"registry": "r", "digest": str(SAMPLE.digest), "length_bytes": "many"}),
    json.dumps({"registry": "r", "digest": str(SAMPLE.digest), "length_bytes": -1, "kind": "blob"}),
    json.dumps({"registry": "r", "digest": str(SAMPLE.digest), "length_bytes": 3, "kind": "cake"}),
    json.dumps({"registry": "r", "digest": 7, "length_bytes": 3, "kind": "blob"}),
    json.dumps({"registry": "r", "digest": ["sha256"], "length_bytes": 3, "kind": "blob"}),
    "[" * 100_000,
]


@pytest.mark.parametrize("line", DAMAGED, ids=range(len(DAMAGED)))
def test_a_damaged_line_costs_that_line_only(store: MemoryStore, record: Path, line: str) -> None:
    keep(store, SAMPLE)
    Holdings(store, record).add(SAMPLE.spec, {})
    whole = record.read_text()
    record.write_text(f"{line}\n{whole}{line}")
    assert Holdings(store, record).load() == [SAMPLE.spec]
    assert record.read_text() == whole, "what is damaged is not kept"


def test_a_record_that_was_cut_in_a_crash_takes_new_lines(store: MemoryStore, record: Path) -> None:
    other = Sample(seed=1)
    keep(store, SAMPLE, other)
    Holdings(store, record).add(SAMPLE.spec, {})
    with record.open("a") as file:
        file.write('{"registry": "regi')
    holdings = Holdings(store, record)
    holdings.load()
    holdings.add(other.spec, {})
    assert Holdings(store, record).load() == [SAMPLE.spec, other.spec]


@pytest.mark.parametrize("content", [b"\xff\xfe\x00garbage\n", b""])
def test_a_record_that_is_no_text_is_an_empty_one(
    store: MemoryStore, record: Path, content: bytes
) -> None:
    record.write_bytes(content)
    keep(store, SAMPLE)
    holdings = Holdings(store, record)
    assert holdings.load() == []
    holdings.add(SAMPLE.spec, {})
    assert Holdings(store, record).load() == [SAMPLE.spec]


def test_a_record_that_cannot_be_read_or_written_costs_cache_hits_only(
    store: MemoryStore, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    keep(store, SAMPLE)
    folder = tmp_path / "pulls.jsonl"
    folder.mkdir()
    holdings = Holdings(store, folder)
    assert holdings.load() == []
    holdings.add(SAMPLE.spec, {})
    assert holdings.open(TAG, now_s=0.0) is not None
    holdings.close()
    messages = [record.getMessage() for record in caplog.records]
    assert messages[0] == "pull_record_unreadable"
    assert set(messages[1:]) == {"pull_record_unwritable"}


def test_a_blob_is_opened_once_and_closed_when_idle(store: MemoryStore, record: Path) -> None:
    keep(store, SAMPLE)
    holdings = Holdings(store, record)
    holdings.add(SAMPLE.spec, {})
    before = descriptors()
    holding = holdings.open(TAG, now_s=100.0)
    assert holding is holdings.open(TAG, now_s=110.0)
    assert descriptors() == before + 1
    holdings.close_idle(now_s=110.0 + IDLE_S)
    assert descriptors() == before + 1
    holdings.close_idle(now_s=110.1 + IDLE_S)
    assert descriptors() == before
    again = holdings.open(TAG, now_s=200.0)
    assert again is not None
    assert again.stored is not None
    assert os.pread(again.stored.fd, 10, 0) == SAMPLE.content[:10]
    holdings.close()
    holdings.close()
    assert descriptors() == before


def test_what_was_evicted_is_forgotten_when_it_is_asked_for(record: Path) -> None:
    store = MemoryStore(quota_bytes=SAMPLE.spec.length_bytes)
    keep(store, SAMPLE)
    holdings = Holdings(store, record)
    holdings.add(SAMPLE.spec, {})
    keep(store, Sample(seed=1))
    assert holdings.spec(TAG) == SAMPLE.spec
    assert holdings.open(TAG, now_s=0.0) is None
    assert holdings.spec(TAG) is None
    assert len(holdings) == 0
    store.close()


def test_what_is_open_is_not_evicted_until_it_is_idle(record: Path) -> None:
    store = MemoryStore(quota_bytes=2 * SAMPLE.spec.length_bytes)
    other = Sample(seed=1)
    keep(store, SAMPLE, other)
    holdings = Holdings(store, record)
    holdings.add(SAMPLE.spec, {})
    holdings.open(TAG, now_s=0.0)
    keep(store, Sample(seed=2))
    assert store.open(other.digest) is None
    holdings.close_idle(now_s=IDLE_S + 1)
    keep(store, Sample(seed=3), Sample(seed=4))
    assert holdings.open(TAG, now_s=100.0) is None
    store.close()


def test_forgetting_closes(store: MemoryStore, record: Path) -> None:
    keep(store, SAMPLE)
    holdings = Holdings(store, record)
    holdings.add(SAMPLE.spec, {})
    before = descriptors()
    holdings.open(TAG, now_s=0.0)
    holdings.forget(TAG)
    holdings.forget(TAG)
    assert descriptors() == before
    assert holdings.open(TAG, now_s=0.0) is None


def test_a_blob_that_is_added_anew_while_it_is_open_leaves_no_descriptor(
    store: MemoryStore, record: Path
) -> None:
    keep(store, SAMPLE)
    holdings = Holdings(store, record)
    holdings.add(SAMPLE.spec, {})
    before = descriptors()
    holdings.open(TAG, now_s=0.0)
    holdings.add(SAMPLE.spec, SAMPLE.hashes())  # evicted meanwhile, and pulled once more
    assert holdings.open(TAG, now_s=1.0) is not None
    holdings.close()
    assert descriptors() == before


def test_pieces_are_hashed_as_peers_hash_them(
    store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shoal.agent.holdings.READ_BYTES", 100_000)
    blob = SAMPLE.put(store)
    for piece in range(SAMPLE.spec.pieces):
        assert piece_hash(blob.fd, SAMPLE.spec, piece) == blake3(SAMPLE.piece(piece)).digest()
    os.truncate(blob.fd, 600 * KIB)
    with pytest.raises(OSError, match=f"the stored blob ends at {600 * KIB}"):
        piece_hash(blob.fd, SAMPLE.spec, 1)
    blob.close()


def test_what_the_store_has_dropped_is_forgotten_and_the_record_does_not_grow_for_ever(
    store: MemoryStore, record: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(holdings_module, "RECORD_LINES_SPARE", 1)
    gone = [Sample(300, seed=seed) for seed in range(3)]
    keep(store, SAMPLE)
    holdings = Holdings(store, record)
    for sample in (SAMPLE, *gone):
        holdings.add(sample.spec, sample.hashes())
    assert len(record.read_text().splitlines()) == 4
    assert set(holdings.forget_evicted()) == {sample.spec.tag for sample in gone}
    assert len(holdings) == 1
    assert holdings.spec(TAG) == SAMPLE.spec
    assert len(record.read_text().splitlines()) == 1, "what is forgotten is not written down either"
    assert holdings.forget_evicted() == []
    assert Holdings(store, record).load() == [SAMPLE.spec]
