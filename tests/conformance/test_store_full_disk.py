"""The disk store on a file system that really fills up: a small tmpfs, which takes root."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from shoal.adapters.store import files
from shoal.adapters.store.disk import DiskStore
from shoal.core.blob import MIB, MIN_PIECE_BYTES
from shoal.core.errors import StoreFull
from shoal.testing.conformance_store import Sample, read

pytestmark = pytest.mark.bed

DISK_BYTES = 8 * MIB


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "shoal-test", folder],
        check=True,
        timeout=60,
    )
    try:
        yield folder
    finally:
        # Lazy, so that a descriptor left open by a failed test cannot keep the mount.
        subprocess.run(["umount", "--lazy", folder], check=True, timeout=60)


def open_store(folder: Path) -> DiskStore:
    return DiskStore(folder / "store", quota_bytes=1 << 30, reserve_bytes=0)


def test_a_blob_that_does_not_fit_is_refused_before_a_byte_is_written(small_disk: Path) -> None:
    store = open_store(small_disk)
    with pytest.raises(StoreFull):
        store.partial(Sample(DISK_BYTES + 1).spec)
    Sample(4 * MIB).keep(store)
    assert len(list(store.digests())) == 1
    store.close()


def test_blobs_make_room_for_each_other_on_a_disk_smaller_than_the_quota(small_disk: Path) -> None:
    store = open_store(small_disk)
    for seed in range(6):
        sample = Sample(3 * MIB, seed=seed)
        blob = sample.put(store)
        assert read(blob, len(sample.content)) == sample.content
        blob.close()
    assert len(list(store.digests())) == 2
    store.close()


def test_another_program_that_fills_the_disk_costs_new_blobs_and_not_those_arriving(
    small_disk: Path,
) -> None:
    store = open_store(small_disk)
    arriving = Sample(4 * MIB)
    partial = store.partial(arriving.spec)
    with pytest.raises(OSError, match="No space left"):
        (small_disk / "log").write_bytes(bytes(DISK_BYTES))
    with pytest.raises(StoreFull):
        store.partial(Sample(MIB, seed=1).spec)
    for piece in range(arriving.spec.pieces):
        arriving.put_piece(partial, piece)
    blob = partial.commit()
    assert read(blob, len(arriving.content)) == arriving.content
    blob.close()
    partial.close()
    store.close()


def test_a_disk_that_cannot_preallocate_and_fills_up_in_a_write_says_full(
    small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "_fallocate", None)
    store = open_store(small_disk)
    arriving = Sample(4 * MIB)
    partial = store.partial(arriving.spec)
    arriving.put_piece(partial, 0)
    with pytest.raises(OSError, match="No space left"):
        (small_disk / "log").write_bytes(bytes(DISK_BYTES))
    with pytest.raises(StoreFull, match="No space left"):
        partial.write(MIN_PIECE_BYTES, arriving.content[MIN_PIECE_BYTES:])
    partial.close()
    (small_disk / "log").unlink()
    again = store.partial(arriving.spec)
    assert 0 in again.held()
    for piece in range(arriving.spec.pieces):
        arriving.put_piece(again, piece)
    blob = again.commit()
    assert os.pread(blob.fd, MIB, 0) == arriving.content[:MIB]
    blob.close()
    again.close()
    store.close()
