"""Makes a virtual machine's free memory real before something is measured on it.

A host may back a guest's page only when the guest first touches it, and take it away again once it
is free (free page reporting). What that costs is charged to whoever touches the page next: on a
machine of this kind writing a GiB into the page cache took 0.14 s of system time over pages that
are backed, and up to 1.6 s over pages that are not. On a machine of its own none of this exists.
"""

import subprocess
import sys

_TIMEOUT_S = 120.0
# In a process of its own, so that the pages are free again at its end. Huge pages first: what a
# host takes back is free memory in blocks of that size. 23 is MADV_POPULATE_WRITE, Linux 5.14.
_TOUCH = """\
import mmap, sys
memory = mmap.mmap(-1, int(sys.argv[1]), flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
try:
    memory.madvise(mmap.MADV_HUGEPAGE)
except OSError:
    pass
memory.madvise(23)
"""


def back_memory(size_bytes: int) -> None:
    """Touch that much free memory, and leave it free. Call right before what is measured."""
    subprocess.run(
        [sys.executable, "-I", "-S", "-c", _TOUCH, str(size_bytes)],
        timeout=_TIMEOUT_S,
        check=True,
    )
