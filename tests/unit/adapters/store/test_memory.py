"""What the memory store does beyond the suite for stores."""

import pytest

from shoal.adapters.store.memory import MemoryStore
from shoal.core.errors import StoreError
from shoal.testing.conformance_store import Sample, read

SAMPLE = Sample()


def test_what_is_half_done_and_nobody_receives_is_told() -> None:
    store = MemoryStore()
    partial = store.partial(SAMPLE.spec)
    assert store.unfinished() == []
    partial.close()
    assert store.unfinished() == [SAMPLE.spec]
    store.close()


def test_what_is_open_outlives_the_store() -> None:
    store = MemoryStore()
    blob = SAMPLE.put(store)
    partial = store.partial(Sample(seed=1).spec)
    store.close()
    assert read(blob, len(SAMPLE.content)) == SAMPLE.content
    with pytest.raises(StoreError, match="the store is closed"):
        partial.commit()
    partial.discard()
    partial.close()
    blob.close()
    assert store.used_bytes() == 0


def test_a_descriptor_serves_a_blob_from_its_start_whoever_read_before() -> None:
    store = MemoryStore()
    for _ in range(2):
        blob = SAMPLE.put(store)
        assert read(blob, len(SAMPLE.content)) == SAMPLE.content
        blob.close()
    store.close()
