"""Who listens on this node, as far as the kernel tells everybody: the user, not the process."""

from collections.abc import Iterator
from pathlib import Path

# Source: Linux include/net/tcp_states.h, as printed in the column `st` of /proc/net/tcp.
_LISTEN = "0A"
_MAX_LINES = 100_000


def listeners(port: int, *, proc: Path = Path("/proc")) -> frozenset[int]:
    """Return the ids of the users whose processes listen on TCP port `port` of any address.

    A pod on the host network sees the node's sockets, though not the node's processes.
    """
    return frozenset(_users(port, proc))


def _users(port: int, proc: Path) -> Iterator[int]:
    for table in ("tcp", "tcp6"):
        try:
            file = (proc / "self" / "net" / table).open(encoding="ascii", errors="replace")
        except OSError:
            continue
        with file:
            for _, line in zip(range(_MAX_LINES), file, strict=False):
                columns = line.split()
                if len(columns) < 10 or columns[3] != _LISTEN:
                    continue
                if int(columns[1].rpartition(":")[2], 16) == port:
                    yield int(columns[7])
