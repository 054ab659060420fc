"""What is in the page cache, and what is fetched into it."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from shoal.agent.front.page_cache import fetch, is_cached

SIZE = 3 * 1024 * 1024


@pytest.fixture
def file_fd(tmp_path: Path) -> Iterator[int]:
    path = tmp_path / "content"
    path.write_bytes(os.urandom(SIZE))
    fd = os.open(path, os.O_RDONLY)
    os.fsync(fd)
    yield fd
    os.close(fd)


def test_what_was_just_written_is_cached(file_fd: int) -> None:
    assert is_cached(file_fd, 0, SIZE)


def test_what_is_fetched_is_cached(file_fd: int) -> None:
    os.posix_fadvise(file_fd, 0, 0, os.POSIX_FADV_DONTNEED)  # a memory file system ignores this
    fetch(file_fd, 1000, SIZE)
    assert is_cached(file_fd, 1000, SIZE)


def test_the_end_of_the_file_is_no_error(file_fd: int) -> None:
    fetch(file_fd, SIZE - 10, SIZE + 10)
    assert is_cached(file_fd, SIZE - 10, SIZE + 10)


def test_a_file_that_cannot_tell_counts_as_cached() -> None:
    read_fd, write_fd = os.pipe()
    try:
        assert is_cached(read_fd, 0, 100)
    finally:
        os.close(read_fd)
        os.close(write_fd)
