"""Commands that begin at the same moment, or each at its own, and what happens meanwhile."""

import os
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from shoal.testing.bed.processes import BedError, bed_environment
from shoal.testing.bed.usage import parse_cpu_time

_READ_BYTES = 1 << 16
_TAIL_BYTES = 1000


@dataclass(frozen=True, slots=True)
class Fetch:
    """One node's fetch: when it ended after the common start, and how it failed if it did."""

    node: str
    seconds: float
    error: str = ""
    began_s: float = 0.0  # after the common start
    cpu_s: float = 0.0  # of the client's process
    lost: bool = False  # its node was taken away: it was not to end well


@dataclass(frozen=True, slots=True)
class Happening:
    """Something that is done to the bed during a race."""

    at_s: float  # after the common start
    what: str  # for error messages
    do: Callable[[], None]
    loses: str = ""  # the node whose fetch ends with it, if any


class Race:
    """Commands that are started, wait at a line, and are then let go."""

    def __init__(self, commands: Sequence[tuple[str, Sequence[str]]]) -> None:
        # The shell waits for the start on its stdin and then is the command: all that costs time
        # at a start (processes, namespaces) is over before.
        self._runners = {
            name: subprocess.Popen(
                ["/bin/sh", "-c", 'read -r _ && exec "$@" </dev/null', "sh", *command],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                env=bed_environment(),
            )
            for name, command in commands
        }
        self._fetches: dict[str, Fetch] = {}
        self._lost: set[str] = set()
        self._failures: list[str] = []
        self._lock = threading.Lock()
        self._over = threading.Event()

    def run(
        self,
        *,
        timeout_s: float,
        delays: Mapping[str, float] | None = None,
        happenings: Sequence[Happening] = (),
    ) -> tuple[Fetch, ...]:
        """Let all go; return when the last is done, or was ended after `timeout_s`.

        Args:
            timeout_s: from the common start.
            delays: how long after the common start a command begins; 0 if it is not named.
            happenings: what is done meanwhile, each in a thread of its own; one that was not due
                before the last command ended is not done.

        Raises:
            BedError: a happening failed.
        """
        began_s = time.monotonic()
        watchers = [
            threading.Thread(
                target=self._watch,
                args=(name, process, began_s, (delays or {}).get(name, 0.0), timeout_s),
            )
            for name, process in self._runners.items()
        ]
        others = [
            threading.Thread(target=self._happen, args=(happening, began_s))
            for happening in happenings
        ]
        for thread in (*watchers, *others):
            thread.start()
        for watcher in watchers:
            watcher.join()
        self._over.set()
        for other in others:
            other.join()
        if self._failures:
            raise BedError("; ".join(self._failures))
        return tuple(self._fetches[name] for name in self._runners)

    def _happen(self, happening: Happening, began_s: float) -> None:
        if self._over.wait(max(0.0, began_s + happening.at_s - time.monotonic())):
            return
        try:
            if happening.loses:
                with self._lock:
                    self._lost.add(happening.loses)
                self._runners[happening.loses].kill()
            happening.do()
        except Exception as error:  # told to whoever waits for the race
            with self._lock:
                self._failures.append(f"{happening.what}: {error}")

    def _watch(
        self,
        name: str,
        process: "subprocess.Popen[bytes]",
        began_s: float,
        delay_s: float,
        timeout_s: float,
    ) -> None:
        if delay_s:
            time.sleep(max(0.0, began_s + delay_s - time.monotonic()))
        overdue = threading.Timer(max(0.0, began_s + timeout_s - time.monotonic()), process.kill)
        overdue.start()
        try:
            output, cpu_s = _to_end(process)
        finally:
            in_time = overdue.is_alive()
            overdue.cancel()
        seconds = time.monotonic() - began_s
        error = ""
        if not in_time:
            error = f"no end after {timeout_s:g} s"
        elif process.returncode != 0:
            error = f"exit {process.returncode}: {output.decode(errors='replace')}"
        with self._lock:
            lost = name in self._lost
            self._fetches[name] = Fetch(name, seconds, error, delay_s, cpu_s, lost)


def _to_end(process: "subprocess.Popen[bytes]") -> tuple[bytes, float]:
    """Let a waiting process go; return the end of what it says, and its processor seconds."""
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        with process.stdin:
            process.stdin.write(b"go\n")
    except BrokenPipeError:
        pass  # it is dead already: its status says how
    tail = b""
    with process.stdout:
        while data := process.stdout.read1(_READ_BYTES):  # type: ignore[attr-defined]
            tail = (tail + data)[-_TAIL_BYTES:]
    # A process that has ended still says what it used, until it is waited for.
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    used = parse_cpu_time(Path(f"/proc/{process.pid}/stat").read_text())
    process.wait()
    return tail, used.total_s
