"""Descriptors, space and errors of the disk store."""

import errno
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from shoal.adapters.store import files
from shoal.adapters.store.files import OpenBlob, OpenFile, preallocate, store_error
from shoal.core.errors import StoreError, StoreFull


@pytest.fixture
def file(tmp_path: Path) -> Iterator[OpenFile]:
    file = OpenFile.open(tmp_path / "file", os.O_RDWR | os.O_CREAT)
    yield file
    file.close()


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_a_full_store(number: int) -> None:
    error = store_error(OSError(number, os.strerror(number)), Path("/store/x"))
    assert isinstance(error, StoreFull)
    assert str(error).startswith("/store/x: ")


@pytest.mark.parametrize(
    ("number", "remedy"),
    [
        (errno.EACCES, "change its owner"),
        (errno.EROFS, "choose a folder"),
        (errno.EMFILE, "ulimit -n"),
        (errno.EIO, "/store/x"),
    ],
)
def test_other_failures_name_the_path_and_what_to_do(number: int, remedy: str) -> None:
    error = store_error(OSError(number, os.strerror(number)), Path("/store/x"))
    assert not isinstance(error, StoreFull)
    assert "/store/x" in str(error)
    assert remedy in str(error)


def test_preallocation_gives_the_length_and_the_blocks(file: OpenFile) -> None:
    preallocate(file.fd, 3_000_000)
    status = os.fstat(file.fd)
    assert status.st_size == 3_000_000
    assert status.st_blocks * 512 >= 3_000_000


def test_preallocation_of_nothing_is_no_error(file: OpenFile) -> None:
    preallocate(file.fd, 0)
    assert os.fstat(file.fd).st_size == 0


def test_a_file_system_that_cannot_preallocate_gets_a_sparse_file(
    file: OpenFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "_fallocate", None)
    preallocate(file.fd, 3_000_000)
    assert os.fstat(file.fd).st_size == 3_000_000
    assert os.fstat(file.fd).st_blocks == 0


def test_preallocation_beyond_the_disk_fails_at_once(file: OpenFile) -> None:
    with pytest.raises(OSError) as raised:  # noqa: PT011  the number is checked below
        preallocate(file.fd, 1 << 50)
    assert raised.value.errno in (errno.ENOSPC, errno.EFBIG)


def test_a_file_made_here_is_for_its_owner_only(file: OpenFile) -> None:
    assert os.fstat(file.fd).st_mode & 0o777 == 0o600


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("/etc/passwd")
    with pytest.raises(OSError, match="link"):
        OpenFile.open(tmp_path / "link", os.O_RDONLY)


def test_a_write_that_the_system_cuts_short_is_finished(
    file: OpenFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    pwrite = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda fd, block, at: pwrite(fd, block[:3], at))
    for block in (b"0123456789", bytearray(b"0123456789"), memoryview(b"0123456789")):
        file.write_at(4, block)
        assert os.pread(file.fd, 20, 4) == b"0123456789"


def test_a_closed_file_says_so(file: OpenFile) -> None:
    file.close()
    file.close()
    with pytest.raises(StoreError, match="after it was closed"):
        file.write_at(0, b"x")
    with pytest.raises(StoreError, match="after it was closed"):
        _ = file.fd


def test_a_descriptor_stays_open_while_another_thread_writes(
    file: OpenFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    pwrite, fd = os.pwrite, file.fd

    def close_in_the_middle(fd: int, block: bytes, offset: int) -> int:
        file.close()
        os.fstat(fd)  # still ours
        return pwrite(fd, block, offset)

    monkeypatch.setattr(os, "pwrite", close_in_the_middle)
    file.write_at(0, b"x")
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(fd)


def test_threads_that_write_and_close_never_touch_a_stranger(tmp_path: Path) -> None:
    stranger = tmp_path / "stranger"

    def race(number: int) -> None:
        file = OpenFile.open(tmp_path / f"file{number}", os.O_RDWR | os.O_CREAT)

        def write() -> None:
            for _ in range(50):
                try:
                    file.write_at(0, b"wrong")
                except StoreError:
                    return

        with ThreadPoolExecutor(2) as threads:
            writing = threads.submit(write)
            file.close()
            fd = os.open(stranger, os.O_RDWR | os.O_CREAT)  # gets the number, if it is free
            writing.result()
            os.close(fd)

    for number in range(50):
        race(number)
    assert stranger.read_bytes() == b""


def test_a_file_that_is_forgotten_open_is_warned_about_and_closed(tmp_path: Path) -> None:
    forgotten = [OpenFile.open(tmp_path / "file", os.O_RDWR | os.O_CREAT)]
    fd = forgotten[0].fd
    with pytest.warns(ResourceWarning, match="was left open"):
        forgotten.clear()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(fd)


def test_an_open_blob_gives_its_pin_back_once(file: OpenFile) -> None:
    closed: list[str] = []
    blob = OpenBlob(file, length_bytes=0, on_close=lambda: closed.append("closed"))
    blob.close()
    blob.close()
    assert closed == ["closed"]


def test_free_space_is_told_and_a_missing_folder_is_an_error(tmp_path: Path) -> None:
    assert files.free_bytes(tmp_path) > 0
    assert 0 < files.default_reserve_bytes(tmp_path) <= 1 << 30
    for question in (files.free_bytes, files.default_reserve_bytes):
        with pytest.raises(StoreError, match="missing"):
            question(tmp_path / "missing")
