"""Keeps the disk out of the event loop: is a stretch of a file in the page cache, and fetch it.

sendfile waits for the disk where the kernel has not read ahead, and with it every other client and
peer of this process. What has just arrived is in the cache; what was stored yesterday is not.
"""

import os

# One page in so many is looked at. The kernel reads ahead in larger steps than this.
_SAMPLE_BYTES = 256 * 1024


def is_cached(fd: int, start: int, end: int) -> bool:
    """Return whether bytes [start, end) can probably be read without waiting for the disk.

    A file system that cannot tell (tmpfs of old kernels, FUSE) counts as cached.
    """
    page = bytearray(1)
    try:
        for at in (*range(start, end, _SAMPLE_BYTES), end - 1):
            os.preadv(fd, [page], at, os.RWF_NOWAIT)
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True


def fetch(fd: int, start: int, end: int) -> None:
    """Read bytes [start, end) into the cache, and let the kernel begin with as much after them.

    Blocks on the disk.

    Raises:
        OSError: the disk failed.
    """
    os.posix_fadvise(fd, start, 2 * (end - start), os.POSIX_FADV_WILLNEED)
    for at in range(start, end, _SAMPLE_BYTES):
        os.pread(fd, 1, at)  # waits until the page is there
