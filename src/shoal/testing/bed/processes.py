"""Commands and long-running processes, on the machine or inside one namespace of a bed.

Namespaces are entered with `nsenter`, never with a `preexec_fn`: a Python-level fork in a process
that has gRPC's threads is a deadlock waiting to happen, and `nsenter` execs, so the id that `Popen`
knows is the id of the program itself.
"""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO

from shoal.core.errors import ShoalError

# The bed's tools live in /usr/sbin, which a plain user's PATH lacks, also after `su` without `-`.
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

COMMAND_TIMEOUT_S = 60.0  # nothing that builds the bed takes more than a second on an idle machine


class BedError(ShoalError):
    """A part of the test bed did not come up or did not do what it was told."""


def bed_environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return this process's environment without proxies, which must not reach into the bed."""
    kept = {k: v for k, v in os.environ.items() if not k.lower().endswith("_proxy")}
    return {**kept, "PATH": f"{kept.get('PATH', '')}:{_PATH}".lstrip(":"), **(extra or {})}


def run(
    argv: Sequence[str],
    *,
    input_text: str | None = None,
    timeout_s: float = COMMAND_TIMEOUT_S,
    check: bool = True,
    env: Mapping[str, str] | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run one command to its end with captured text output.

    Raises:
        BedError: it was not found, took longer than `timeout_s`, or failed while `check` is set;
            the message holds the command and the end of what it wrote.
    """
    try:
        done = subprocess.run(
            list(argv),
            input=input_text,
            stdin=subprocess.DEVNULL if input_text is None else None,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout_s,
            check=False,
            env=bed_environment(env),
        )
    except FileNotFoundError as exc:
        raise BedError(f"{argv[0]} is not installed: run ./dev setup as root") from exc
    except subprocess.TimeoutExpired as exc:
        raise BedError(f"no end after {timeout_s:g} s: {' '.join(argv)}") from exc
    if check and done.returncode != 0:
        said = (done.stderr.strip() or done.stdout.strip())[-2000:]
        raise BedError(f"exit {done.returncode}: {' '.join(argv)}\n{said}")
    return done


def in_namespace(namespace: str, argv: Sequence[str]) -> list[str]:
    """Return the command line that runs `argv` in the network namespace called `namespace`."""
    return ["nsenter", f"--net=/run/netns/{namespace}", "--", *argv]


def listen_in(namespace: str, host: str) -> socket.socket:
    """Return a socket of this process that listens in the network namespace called `namespace`.

    A socket belongs to the namespace where it was made: a child makes it there and hands it over.

    Raises:
        BedError: the child failed.
    """
    ours, theirs = socket.socketpair(socket.AF_UNIX)
    with ours, theirs:
        script = (
            "import socket, sys; it = socket.create_server((sys.argv[1], 0)); "
            "socket.send_fds(socket.socket(fileno=int(sys.argv[2])), [b'.'], [it.fileno()])"
        )
        child = in_namespace(namespace, [sys.executable, "-c", script, host, str(theirs.fileno())])
        done = subprocess.run(
            child, pass_fds=[theirs.fileno()], timeout=COMMAND_TIMEOUT_S, check=False
        )
        if done.returncode != 0:
            raise BedError(f"cannot listen on {host} in {namespace}")
        _, (descriptor,), _, _ = socket.recv_fds(ours, 1, 1)
    return socket.socket(fileno=descriptor)


def process_tree(pid: int) -> list[int]:
    """Return a process and all that descend from it, parents first, as far as they still run."""
    found, queue = [], [pid]
    while queue:
        pid = queue.pop(0)
        found.append(pid)
        try:
            children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        except OSError:
            continue
        queue += map(int, children)
    return found


class Service:
    """One long-running program with its log file; started, stopped, paused and killed by id."""

    def __init__(
        self, name: str, argv: Sequence[str], *, log: Path, env: Mapping[str, str] | None = None
    ) -> None:
        self.name = name
        self.argv = list(argv)
        self.log = log
        self.env = dict(env or {})
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The running program's process id.

        Raises:
            BedError: it is not running.
        """
        if self._process is None or self._process.poll() is not None:
            raise BedError(f"{self.name} is not running{self.tail()}")
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether the program was started and has not ended."""
        return self._process is not None and self._process.poll() is None

    @property
    def exit_status(self) -> int | None:
        """How the program ended: its status, negative for a signal, None while it runs."""
        return None if self._process is None else self._process.poll()

    def start(self) -> None:
        """Start the program; its output is appended to the log file.

        Raises:
            BedError: it is running already, or is not installed.
        """
        if self.running:
            raise BedError(f"{self.name} is running already")
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            self._process = self._spawn(log)

    def _spawn(self, log: IO[bytes]) -> subprocess.Popen[bytes]:
        try:
            return subprocess.Popen(
                self.argv,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                # Its own session: Ctrl-C reaches the bed's owner alone, which then tears down in
                # order, and a group can be signalled with all its children.
                start_new_session=True,
                env=bed_environment(self.env),
            )
        except FileNotFoundError as exc:
            raise BedError(f"{self.argv[0]} is not installed: run ./dev setup as root") from exc

    def wait_until(
        self,
        ready: Callable[[], bool],
        *,
        timeout_s: float,
        interval_s: float = 0.02,
        alive: bool = True,
    ) -> None:
        """Return once `ready()` is true.

        Args:
            ready: what is waited for.
            timeout_s: when to give up, in seconds.
            interval_s: how often to ask, in seconds.
            alive: whether the program has to run for it.

        Raises:
            BedError: the program ended first, or `timeout_s` passed; the message ends with its log.
        """
        give_up_s = time.monotonic() + timeout_s
        while not ready():
            if alive and not self.running:
                raise BedError(f"{self.name} ended with {self.exit_status}{self.tail()}")
            if time.monotonic() > give_up_s:
                raise BedError(f"{self.name} not ready after {timeout_s:g} s{self.tail()}")
            time.sleep(interval_s)

    def signal(self, number: signal.Signals, *, group: bool = True) -> None:
        """Send a signal to the program and, with `group`, to all its children."""
        if group:
            os.killpg(self.pid, number)
        else:
            os.kill(self.pid, number)

    def stop(self, *, timeout_s: float = 10.0) -> int:
        """Ask the program to end (SIGTERM), then insist; return its exit status.

        Only the program itself gets the SIGTERM: what its children should do is its business.
        """
        process = self._process
        if process is None:
            return 0
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(timeout_s)
            except subprocess.TimeoutExpired:
                self.kill()
        return process.wait()

    def kill(self) -> None:
        """End the program and its children at once (SIGKILL)."""
        process = self._process
        if process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # also children that outlived a dead parent
            process.wait(60)

    def tail(self, *, size_bytes: int = 2000) -> str:
        """Return the end of the log, for an error message."""
        try:
            with self.log.open("rb") as log:
                log.seek(0, os.SEEK_END)
                log.seek(max(0, log.tell() - size_bytes))
                text = log.read(size_bytes).decode(errors="replace")
        except OSError:
            return ""
        return f"; its log {self.log} ends:\n{text}"
