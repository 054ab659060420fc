"""What the disk store does beyond the suite for stores: restarts, damage, full disks."""

import errno
import os
import stat
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from shoal.adapters.store import disk, files
from shoal.adapters.store.disk import DiskStore
from shoal.adapters.store.layout import Layout
from shoal.core.blob import MIB, BlobSpec
from shoal.core.digest import Digest
from shoal.core.errors import StoreError, StoreFull
from shoal.testing.conformance_store import Sample, read

SAMPLE = Sample()
SIZE_BYTES = SAMPLE.spec.length_bytes


@contextmanager
def disk_store(
    root: Path, *, quota_bytes: int = 1 << 40, reserve_bytes: int | None = 0
) -> Iterator[DiskStore]:
    store = DiskStore(root, quota_bytes=quota_bytes, reserve_bytes=reserve_bytes)
    try:
        yield store
    finally:
        store.close()


def no_room(fd: int, size_bytes: int) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_blobs_survive_a_restart(tmp_path: Path) -> None:
    empty, wide = Sample(0), Sample(algorithm="sha512", seed=1)
    with disk_store(tmp_path) as store:
        for sample in (SAMPLE, empty, wide):
            sample.keep(store)
        used_bytes = store.used_bytes()
    with disk_store(tmp_path) as store:
        assert store.used_bytes() == used_bytes
        assert {digest for digest, _ in store.digests()} == {
            sample.digest for sample in (SAMPLE, empty, wide)
        }
        for sample in (SAMPLE, empty, wide):
            blob = store.open(sample.digest)
            assert blob is not None
            assert read(blob, len(sample.content)) == sample.content
            blob.close()


def test_the_order_of_use_survives_a_restart(tmp_path: Path) -> None:
    samples = [Sample(seed=seed) for seed in range(3)]
    with disk_store(tmp_path) as store:
        for sample in samples:
            sample.keep(store)
        for number, sample in enumerate(samples):
            path = Layout(tmp_path).blob(sample.digest)
            os.utime(path, (1000 + number, 1000 + number))
    with disk_store(tmp_path) as store:
        blob = store.open(samples[0].digest)
        assert blob is not None
        blob.close()
    with disk_store(tmp_path, quota_bytes=3 * SIZE_BYTES) as store:
        Sample(seed=9).keep(store)
        assert {digest for digest, _ in store.digests()} == {
            samples[0].digest,
            samples[2].digest,
            Sample(seed=9).digest,
        }


def test_a_use_is_written_to_the_disk_at_most_once_a_minute(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now_s = 1000.0
    times: list[int] = []
    monkeypatch.setattr("time.monotonic", lambda: now_s)
    monkeypatch.setattr(os, "utime", times.append)
    with disk_store(tmp_path) as store:
        SAMPLE.keep(store)
        for now_s in (1000.0, 1059.0, 1060.0, 1061.0):  # noqa: B007  the clock reads it
            blob = store.open(SAMPLE.digest)
            assert blob is not None
            blob.close()
    assert len(times) == 2


def test_a_use_that_cannot_be_written_down_is_no_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(fd: int) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(os, "utime", refuse)
    with disk_store(tmp_path) as store:
        SAMPLE.keep(store)


def test_a_lowered_quota_is_kept_from_the_start(tmp_path: Path) -> None:
    with disk_store(tmp_path) as store:
        for seed in range(4):
            Sample(seed=seed).keep(store)
    with disk_store(tmp_path, quota_bytes=2 * SIZE_BYTES) as store:
        assert store.used_bytes() == 2 * SIZE_BYTES
    assert len([p for p in (tmp_path / "blobs").rglob("*") if p.is_file()]) == 2


def test_files_are_for_their_owner_only(tmp_path: Path) -> None:
    with disk_store(tmp_path) as store:
        SAMPLE.keep(store)
        partial = store.partial(Sample(seed=1).spec)
        partial.close()
    for path in tmp_path.rglob("*"):
        mode = stat.S_IMODE(path.stat().st_mode)
        assert mode == (0o700 if path.is_dir() else 0o600), path


def test_a_committed_blob_leaves_nothing_in_the_partial_folder(tmp_path: Path) -> None:
    with disk_store(tmp_path) as store:
        SAMPLE.keep(store)
        assert list((tmp_path / "partial").iterdir()) == []


def test_a_second_agent_is_refused_and_changes_nothing(tmp_path: Path) -> None:
    with disk_store(tmp_path) as store:
        partial = store.partial(SAMPLE.spec)
        with pytest.raises(StoreError, match=f"in use by process {os.getpid()}"):
            DiskStore(tmp_path, quota_bytes=1, reserve_bytes=0)
        SAMPLE.put_piece(partial, 0)
        partial.close()


def test_a_store_that_cannot_start_lets_its_folder_go(tmp_path: Path) -> None:
    (tmp_path / "lengths").mkdir()
    with pytest.raises(StoreError, match="lengths"):
        DiskStore(tmp_path, quota_bytes=1, reserve_bytes=0)
    (tmp_path / "lengths").rmdir()
    with disk_store(tmp_path):
        pass


def test_a_closed_store_says_so(tmp_path: Path) -> None:
    with disk_store(tmp_path) as store:
        pass
    with pytest.raises(StoreError, match="closed"):
        store.open(SAMPLE.digest)
    with pytest.raises(StoreError, match="closed"):
        store.partial(SAMPLE.spec)


def test_a_blob_is_not_committed_to_a_closed_store_and_is_resumed_by_the_next(
    tmp_path: Path,
) -> None:
    with disk_store(tmp_path) as store:
        partial = store.partial(SAMPLE.spec)
        SAMPLE.put_piece(partial, 0)
    with pytest.raises(StoreError, match="the store is closed"):
        partial.commit()
    partial.close()
    with disk_store(tmp_path) as store:
        again = store.partial(SAMPLE.spec)
        assert list(again.held()) == [0]
        again.close()


def test_what_is_half_done_is_told_after_a_restart(tmp_path: Path) -> None:
    with disk_store(tmp_path) as store:
        partial = store.partial(SAMPLE.spec)
        assert store.unfinished() == []
        partial.close()
    with disk_store(tmp_path) as store:
        assert store.unfinished() == [SAMPLE.spec]
        assert store.used_bytes() == SIZE_BYTES


def test_a_partial_blob_whose_files_went_starts_anew(tmp_path: Path) -> None:
    with disk_store(tmp_path) as store:
        for lost in (Layout(tmp_path).data, Layout(tmp_path).map):
            partial = store.partial(SAMPLE.spec)
            SAMPLE.put_piece(partial, 0)
            partial.close()
            lost(SAMPLE.spec.tag).unlink()
            again = store.partial(SAMPLE.spec)
            assert again.held() == {}
            assert store.used_bytes() == SIZE_BYTES
            again.discard()
            again.close()


def test_a_partial_blob_that_cannot_be_opened_just_now_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def too_many(*_: object) -> int:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    with disk_store(tmp_path) as store:
        partial = store.partial(SAMPLE.spec)
        SAMPLE.put_piece(partial, 0)
        partial.close()
        with monkeypatch.context() as patch:
            patch.setattr(os, "open", too_many)
            with pytest.raises(StoreError, match="ulimit"):
                store.partial(SAMPLE.spec)
        again = store.partial(SAMPLE.spec)
        assert list(again.held()) == [0]
        again.close()


def test_a_blob_whose_file_went_is_not_there(tmp_path: Path) -> None:
    with disk_store(tmp_path) as store:
        SAMPLE.keep(store)
        Layout(tmp_path).blob(SAMPLE.digest).unlink()
        assert store.open(SAMPLE.digest) is None
        assert store.used_bytes() == 0


def test_a_blob_that_was_cut_short_is_dropped(tmp_path: Path) -> None:
    path = Layout(tmp_path).blob(SAMPLE.digest)
    with disk_store(tmp_path) as store:
        SAMPLE.keep(store)
        os.truncate(path, 5)
        assert store.open(SAMPLE.digest) is None
        assert not path.exists()
        assert store.used_bytes() == 0


def test_verify_tells_right_from_damaged_and_drops_the_damaged(tmp_path: Path) -> None:
    path = Layout(tmp_path).blob(SAMPLE.digest)
    with disk_store(tmp_path) as store:
        assert not store.verify(SAMPLE.digest)
        SAMPLE.keep(store)
        assert store.verify(SAMPLE.digest)
        blob = store.open(SAMPLE.digest)
        assert blob is not None
        path.write_bytes(bytes(SIZE_BYTES))
        assert not store.verify(SAMPLE.digest)
        assert not path.exists()
        assert list(store.digests()) == []
        assert store.used_bytes() == SIZE_BYTES
        blob.close()
        assert store.used_bytes() == 0
        SAMPLE.keep(store)
        assert store.verify(SAMPLE.digest)


def test_a_blob_whose_file_was_written_to_is_hashed_before_it_is_served(tmp_path: Path) -> None:
    with disk_store(tmp_path) as store:
        SAMPLE.keep(store)
        path = Layout(tmp_path).blob(SAMPLE.digest)
        os.utime(path, ns=(1, 1))  # touched, and right all the same
        blob = store.open(SAMPLE.digest)
        assert blob is not None
        blob.close()
        with path.open("r+b") as file:
            file.write(bytes(3))
        os.utime(path, ns=(2, 2))
        assert store.open(SAMPLE.digest) is None
        assert store.dropped == 1
        assert not path.exists()


def test_verifying_a_blob_is_no_use_of_it(tmp_path: Path) -> None:
    older, newer = Sample(), Sample(seed=1)
    with disk_store(tmp_path, quota_bytes=2 * SIZE_BYTES) as store:
        for sample in (older, newer):
            sample.keep(store)
        assert store.verify(older.digest)
        Sample(seed=2).keep(store)
        assert older.digest not in dict(store.digests())


def test_a_lost_record_of_lengths_is_made_again_from_the_folder(tmp_path: Path) -> None:
    with disk_store(tmp_path) as store:
        SAMPLE.keep(store)
    (tmp_path / "lengths").unlink()
    with disk_store(tmp_path) as store:
        assert list(store.digests()) == []
        assert store.used_bytes() == SIZE_BYTES
        blob = store.open(SAMPLE.digest)
        assert blob is not None
        blob.close()
        assert list(store.digests()) == [(SAMPLE.digest, SIZE_BYTES)]
    with disk_store(tmp_path) as store:
        assert list(store.digests()) == [(SAMPLE.digest, SIZE_BYTES)]


def test_a_file_put_in_by_hand_is_used_only_if_its_digest_is_right(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    layout.prepare()
    wrong = Digest.parse("sha256:" + "0" * 64)
    for digest in (SAMPLE.digest, wrong):
        layout.prepare_for(digest).write_bytes(SAMPLE.content)
    with disk_store(tmp_path) as store:
        assert store.open(wrong) is None
        blob = store.open(SAMPLE.digest)
        assert blob is not None
        blob.close()
        assert list(store.digests()) == [(SAMPLE.digest, SIZE_BYTES)]
        assert store.used_bytes() == SIZE_BYTES


def test_a_blob_that_arrives_takes_the_place_of_one_that_is_not_proven(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    layout.prepare()
    layout.prepare_for(SAMPLE.digest).write_bytes(b"damaged")
    with disk_store(tmp_path) as store:
        blob = SAMPLE.put(store)
        assert read(blob, SIZE_BYTES) == SAMPLE.content
        blob.close()
        assert store.used_bytes() == SIZE_BYTES


def test_the_reserve_is_left_free_by_evicting_or_by_refusing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def free_bytes(folder: Path) -> int:
        stored = (p for p in folder.rglob("*") if p.is_file())
        return 4 * SIZE_BYTES - sum(p.stat().st_size for p in stored)

    monkeypatch.setattr(files, "free_bytes", free_bytes)
    with disk_store(tmp_path, reserve_bytes=SIZE_BYTES) as store:
        blobs = [Sample(seed=seed).put(store) for seed in range(2)]
        with pytest.raises(StoreFull, match="lower the reserve"):
            store.partial(Sample(2 * SIZE_BYTES, seed=2).spec)
        assert len(list(store.digests())) == 2
        for blob in blobs:
            blob.close()
        Sample(2 * SIZE_BYTES, seed=2).keep(store)
        assert free_bytes(tmp_path) >= SIZE_BYTES


def test_a_blob_with_blocks_not_yet_set_aside_counts_against_the_free_space(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "_fallocate", None)
    monkeypatch.setattr(files, "free_bytes", lambda _: 3 * SIZE_BYTES)
    with disk_store(tmp_path) as store:
        partials = [store.partial(Sample(seed=seed).spec) for seed in range(3)]
        with pytest.raises(StoreFull):
            store.partial(Sample(seed=3).spec)
        for partial in partials:
            partial.close()


def test_a_disk_that_fills_up_before_the_blob_has_its_blocks_evicts_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with disk_store(tmp_path, quota_bytes=SIZE_BYTES) as store:
        SAMPLE.keep(store)
        with monkeypatch.context() as patch:
            patch.setattr(files, "preallocate", no_room)
            with pytest.raises(StoreFull, match="No space left"):
                store.partial(Sample(seed=1).spec)
        assert list(store.digests()) == [(SAMPLE.digest, SIZE_BYTES)]
        assert store.used_bytes() == SIZE_BYTES
        assert list((tmp_path / "partial").iterdir()) == []
        blob = store.open(SAMPLE.digest)
        assert blob is not None
        blob.close()


def test_a_disk_that_is_full_in_a_write_is_a_full_store_and_the_rest_stays_usable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(fd: int, block: bytes, offset: int) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with disk_store(tmp_path) as store:
        partial = store.partial(SAMPLE.spec)
        SAMPLE.put_piece(partial, 0)
        with monkeypatch.context() as patch:
            patch.setattr(os, "pwrite", full)
            with pytest.raises(StoreFull, match=r"\.data: No space left"):
                partial.write(0, b"x")
            with pytest.raises(StoreFull, match=r"\.map: No space left"):
                partial.mark(1, bytes(32))
        assert list(partial.held()) == [0]
        partial.close()


def test_a_length_that_cannot_be_recorded_costs_a_check_and_no_blob(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: object, digest: Digest, length_bytes: int) -> None:
        raise StoreFull("full")

    monkeypatch.setattr("shoal.adapters.store.lengths.LengthsFile.add", full)
    with disk_store(tmp_path) as store:
        SAMPLE.keep(store)
    with disk_store(tmp_path) as store:
        assert list(store.digests()) == []
        assert store.verify(SAMPLE.digest)


def test_the_record_of_lengths_does_not_grow_without_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(disk, "_SPARE_LINES", 3)
    with disk_store(tmp_path, quota_bytes=SIZE_BYTES) as store:
        for seed in range(20):
            Sample(seed=seed).keep(store)
            assert len((tmp_path / "lengths").read_text().splitlines()) <= 6
    with disk_store(tmp_path) as store:
        assert list(store.digests()) == [(Sample(seed=19).digest, SIZE_BYTES)]


def test_a_blob_that_cannot_be_removed_is_still_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: Path, missing_ok: bool = False) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with disk_store(tmp_path, quota_bytes=SIZE_BYTES) as store:
        SAMPLE.keep(store)
        with monkeypatch.context() as patch:
            patch.setattr(Path, "unlink", refuse)
            partial = store.partial(Sample(seed=1).spec)
        assert store.used_bytes() == 2 * SIZE_BYTES
        partial.discard()
        partial.close()
        assert store.used_bytes() == SIZE_BYTES
        assert store.verify(SAMPLE.digest)


def test_a_failed_rename_leaves_a_blob_that_can_be_committed_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: Path, target: Path) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with disk_store(tmp_path) as store:
        partial = store.partial(SAMPLE.spec)
        with monkeypatch.context() as patch:
            patch.setattr(Path, "rename", refuse)
            with pytest.raises(StoreFull):
                partial.commit()
        assert list(store.digests()) == []
        partial.commit().close()
        partial.close()


def test_a_blob_of_20_gigabytes_is_received_resumed_and_committed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "_fallocate", None)  # sparse: nobody's disk is filled for this
    monkeypatch.setattr(files, "free_bytes", lambda _: 1 << 40)
    # Its digest cannot be checked here: nothing below looks at it.
    spec = BlobSpec("registry.example", SAMPLE.digest, 20_000_000_000)
    last = spec.pieces - 1
    content = bytes(range(256)) * (spec.size(last) // 256)
    with disk_store(tmp_path) as store:
        partial = store.partial(spec)
        partial.write(spec.offset(last), content)
        partial.mark(last, bytes(32))
        partial.close()
        assert store.used_bytes() == 20_000_000_000
        again = store.partial(spec)
        assert again.held() == {}
        blob = again.commit()
        assert os.pread(blob.fd, 256, spec.offset(last)) == content[:256]
        blob.close()
        again.close()
    with disk_store(tmp_path) as store:
        assert list(store.digests()) == [(spec.digest, 20_000_000_000)]


def test_readers_always_get_whole_blobs_while_others_are_evicted(tmp_path: Path) -> None:
    samples = [Sample(MIB, seed=seed) for seed in range(6)]
    with disk_store(tmp_path, quota_bytes=3 * MIB) as store:

        def use(number: int) -> None:
            sample = samples[number % len(samples)]
            try:
                blob = store.open(sample.digest) or sample.put(store)
            except StoreError:  # everything is in use, or another thread is receiving it
                return
            assert read(blob, MIB) == sample.content
            blob.close()

        with ThreadPoolExecutor(4) as threads:
            list(threads.map(use, range(200)))
        assert store.used_bytes() <= 3 * MIB
        stored = [p for p in (tmp_path / "blobs").rglob("*") if p.is_file()]
        assert sum(p.stat().st_size for p in stored) == store.used_bytes()
