"""A store and containerd's blobs as one: read from both, written to the store alone."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from shoal.adapters.store.base import Store
from shoal.adapters.store.containerd_content import ContainerdContent
from shoal.adapters.store.memory import MemoryStore
from shoal.adapters.store.with_containerd import WithContainerd
from shoal.core.errors import StoreError, StoreFull
from shoal.testing.conformance_store import Sample, StoreConformance, read


class TestStoreWithAnEmptyContainerd(StoreConformance):
    """What every store must do, it does."""

    @contextmanager
    def store(self, quota_bytes: int) -> Iterator[Store]:
        """Return an empty store, closed at the end."""
        store = MemoryStore(quota_bytes=quota_bytes)
        try:
            yield WithContainerd(store, ContainerdContent(Path("/nonexistent")))
        finally:
            store.close()


@pytest.fixture
def blobs(tmp_path: Path) -> Path:
    folder = tmp_path / "blobs"
    (folder / "sha256").mkdir(parents=True)
    return folder


@pytest.fixture
def cache() -> Iterator[MemoryStore]:
    store = MemoryStore()
    yield store
    store.close()


def _keep(blobs: Path, sample: Sample) -> None:
    (blobs / "sha256" / sample.digest.hex).write_bytes(sample.content)


def test_a_blob_is_found_wherever_it_is(blobs: Path, cache: MemoryStore) -> None:
    ours, theirs, nobodys = Sample(seed=1), Sample(seed=2), Sample(seed=3)
    ours.put(cache).close()
    _keep(blobs, theirs)
    both = WithContainerd(cache, ContainerdContent(blobs))
    for sample in (ours, theirs):
        blob = both.open(sample.digest)
        assert blob is not None
        assert read(blob, len(sample.content)) == sample.content
        blob.close()
    assert both.open(nobodys.digest) is None


def test_a_blob_in_both_is_read_from_the_store_which_pins_it(
    blobs: Path, cache: MemoryStore
) -> None:
    sample = Sample()
    sample.put(cache).close()
    _keep(blobs, Sample(length_bytes=1))
    (blobs / "sha256" / sample.digest.hex).write_bytes(b"of another length")
    both = WithContainerd(cache, ContainerdContent(blobs))
    blob = both.open(sample.digest)
    assert blob is not None
    assert blob.length_bytes == len(sample.content)
    blob.close()
    assert dict(both.digests())[sample.digest] == len(sample.content)


def test_both_are_listed_each_blob_once(blobs: Path, cache: MemoryStore) -> None:
    ours, theirs, shared = Sample(1000, seed=1), Sample(2000, seed=2), Sample(3000, seed=3)
    for sample in (ours, shared):
        sample.put(cache).close()
    for sample in (theirs, shared):
        _keep(blobs, sample)
    both = WithContainerd(cache, ContainerdContent(blobs))
    listed = list(both.digests())
    assert listed[:2] == list(cache.digests()), "the store's own first"
    assert listed[2:] == [(theirs.digest, 2000)]


def test_what_containerd_has_does_not_count_against_the_quota(blobs: Path) -> None:
    cache = MemoryStore(quota_bytes=1000)
    _keep(blobs, Sample(50_000))
    both = WithContainerd(cache, ContainerdContent(blobs))
    assert both.used_bytes() == 0
    with pytest.raises(StoreFull):
        both.partial(Sample(1001).spec)
    partial = both.partial(Sample(999).spec)
    assert both.used_bytes() == cache.used_bytes() == 999
    partial.close()
    both.close()
    assert cache.used_bytes() == 0, "closing it closes the store"


def test_a_blob_that_containerd_cannot_give_is_an_error(blobs: Path, cache: MemoryStore) -> None:
    sample = Sample()
    (blobs / "sha256" / sample.digest.hex).symlink_to("/etc/passwd")
    with pytest.raises(StoreError, match=sample.digest.hex):
        WithContainerd(cache, ContainerdContent(blobs)).open(sample.digest)
