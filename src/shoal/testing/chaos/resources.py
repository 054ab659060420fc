"""What agents take: memory, file descriptors, threads, disk."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from shoal.testing.bed.node import Node
from shoal.testing.bed.processes import BedError
from shoal.testing.chaos.faults.agents import FILLER
from shoal.testing.chaos.judge import Sample


def sample(node: Node, *, number: int, at_s: float) -> Sample | None:
    """Return what a node's agent takes now; None if none runs, or it ends meanwhile."""
    try:
        pid = node.agent.pids()[1]
        status = Path(f"/proc/{pid}/status").read_text()
        fds = sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())
    except (OSError, BedError, IndexError):
        return None
    words = dict(line.split(":", 1) for line in status.splitlines())
    if "VmRSS" not in words:
        return None
    return Sample(
        node=number,
        at_s=at_s,
        rss_bytes=int(words["VmRSS"].split()[0]) * 1024,
        fds=fds,
        threads=int(words["Threads"]),
        store_bytes=sum(_allocated(node.agent.store)),
    )


def _allocated(folder: Path) -> Iterator[int]:
    for path in folder.rglob("*"):
        if path.name != FILLER:
            with contextlib.suppress(OSError):
                yield path.stat().st_blocks * 512
