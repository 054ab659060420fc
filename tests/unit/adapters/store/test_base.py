"""The store's protocols fit what ships."""

from collections.abc import Iterator
from pathlib import Path

from shoal.adapters.store.base import PartialBlob, Store, StoredBlob
from shoal.adapters.store.containerd_content import ContainerdContent
from shoal.adapters.store.disk import DiskStore
from shoal.adapters.store.memory import MemoryStore
from shoal.core.digest import Digest
from shoal.testing.conformance_store import Sample


def stores(folder: Path) -> Iterator[Store]:
    yield MemoryStore()
    yield DiskStore(folder, quota_bytes=1 << 20, reserve_bytes=0)


def digest_and_length(partial: PartialBlob, blob: StoredBlob) -> tuple[Digest, int]:
    blob.close()
    return partial.spec.digest, blob.length_bytes


def test_the_shipped_stores_and_their_blobs_have_the_types_that_callers_are_written_to(
    tmp_path: Path,
) -> None:
    # mypy runs over this file: that each fits the annotations is half of the test.
    sample = Sample(0)
    for store in stores(tmp_path / "store"):
        partial = store.partial(sample.spec)
        assert digest_and_length(partial, partial.commit()) == (sample.digest, 0)
        partial.close()
        store.close()
    assert ContainerdContent(tmp_path).open(sample.digest) is None
