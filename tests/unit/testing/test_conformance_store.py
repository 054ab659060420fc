"""The suite for stores finds the faults that it is there to find."""

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from shoal.adapters.store.base import Store
from shoal.adapters.store.files import OpenBlob
from shoal.adapters.store.memory import MemoryPartial, MemoryStore
from shoal.core.blob import BlobSpec
from shoal.core.digest import Digest
from shoal.testing.conformance_store import Sample, StoreConformance, refused


class Forgetful(MemoryStore):
    """Starts every partial blob anew."""

    def partial(self, spec: BlobSpec) -> MemoryPartial:
        """Drop what was held."""
        super().partial(spec).discard()
        return super().partial(spec)


class Careless(MemoryStore):
    """Does not pin what it opens."""

    def open(self, digest: Digest) -> OpenBlob | None:
        """Give the pin back at once."""
        blob = super().open(digest)
        entry = self._ledger.get(digest)
        if entry is not None:
            self._ledger.unpin(entry)
        return blob


class Eager(MemoryStore):
    """Shows a blob before it is committed."""

    def digests(self) -> list[tuple[Digest, int]]:
        """List what is only arriving as well."""
        arriving = [(c.spec.digest, c.spec.length_bytes) for c in self._contents.values()]
        return sorted({*super().digests(), *arriving})


@pytest.mark.parametrize(
    ("broken", "test"),
    [
        (Forgetful, StoreConformance.test_a_closed_partial_blob_is_resumed_with_what_it_held),
        (Careless, StoreConformance.test_nothing_is_evicted_while_it_is_read_or_arriving),
        (
            Eager,
            StoreConformance.test_a_blob_is_not_open_to_anyone_before_it_is_committed,
        ),
    ],
)
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_broken_store_does_not_pass(
    broken: type[MemoryStore], test: Callable[[StoreConformance], None]
) -> None:
    class Suite(StoreConformance):
        @contextmanager
        def store(self, quota_bytes: int) -> Iterator[Store]:
            store = broken(quota_bytes=quota_bytes)
            try:
                yield store
            finally:
                store.close()

    with pytest.raises((AssertionError, ValueError)):
        test(Suite())
    gc.collect()  # what the failed test left open is warned about here, not in a later test


def test_a_call_that_is_not_refused_is_noticed() -> None:
    with pytest.raises(AssertionError, match="ValueError was not raised"):
        refused(ValueError, lambda: None)


def test_a_sample_is_the_same_each_time_and_its_digest_is_right() -> None:
    one, two = Sample(seed=3), Sample(seed=3)
    assert one.content == two.content
    assert one.digest == two.digest
    assert b"".join(one.piece(piece) for piece in range(one.spec.pieces)) == one.content
