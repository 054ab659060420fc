"""What an agent's worker process costs, as the kernel counts it: its process and its memory."""

import threading
from pathlib import Path
from types import TracebackType

from shoal.testing.bed.agents import Agent
from shoal.testing.bed.processes import BedError

SAMPLE_INTERVAL_S = 0.01


def worker_pid(agent: Agent) -> int:
    """Return the process that does the work: the supervisor's only child.

    Raises:
        BedError: it has none, or more than one.
    """
    pids = agent.pids()
    if len(pids) != 2:
        raise BedError(f"{agent.service.name}: {len(pids)} processes where 2 were expected")
    return pids[1]


def anonymous_bytes(pid: int) -> int:
    """Return a process's resident memory that is no file's (RssAnon)."""
    return parse_anonymous_bytes(Path(f"/proc/{pid}/status").read_text())


def parse_anonymous_bytes(status: str) -> int:
    """Return RssAnon of a `/proc/<pid>/status`.

    Raises:
        BedError: the kernel does not tell it.
    """
    for line in status.splitlines():
        name, _, value = line.partition(":")
        if name == "RssAnon":
            return int(value.split()[0]) * 1024
    raise BedError("this kernel does not tell RssAnon")


class AnonymousPeaks:
    """Watches the anonymous memory of processes, a hundred times a second, in a thread."""

    def __init__(self, pids: list[int]) -> None:
        self.peak_bytes = dict.fromkeys(pids, 0)
        self.samples = 0
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def _watch(self) -> None:
        while not self._end.wait(SAMPLE_INTERVAL_S):
            for pid, peak in self.peak_bytes.items():
                try:
                    self.peak_bytes[pid] = max(peak, anonymous_bytes(pid))
                except (OSError, BedError):
                    continue  # it has ended, waited for or not; whoever waits will notice
            self.samples += 1

    def __enter__(self) -> "AnonymousPeaks":
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._end.set()
        self._thread.join()
