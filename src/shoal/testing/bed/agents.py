"""A Shoal agent on a node of the bed, as a process with its settings file and its log."""

import contextlib
import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from shoal.testing.bed.processes import BedError, Service, in_namespace, process_tree, run
from shoal.testing.bed.record import is_dead

START_TIMEOUT_S = 60.0  # 1 s on an idle machine
FRONT_PORT = 65001
PEER_PORT = 65002
EXPORTER_PORT = 65003


class Agent:
    """`shoal agent --config agent.yaml` in a node's namespace."""

    def __init__(
        self,
        *,
        namespace: str,
        folder: Path,
        ready_url: str,
        resolv_conf: Path | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """Prepare.

        Args:
            namespace: the node's.
            folder: for its settings, store and log.
            ready_url: what answers 200 once it is ready.
            resolv_conf: what the agent finds at /etc/resolv.conf; None: the machine's own.
            environment: variables beside those of the bed.
        """
        self.namespace = namespace
        self.folder = folder
        self.config = folder / "agent.yaml"
        self.store = folder / "store"
        self.ready_url = ready_url
        command = [sys.executable, "-m", "shoal", "agent", "--config", str(self.config)]
        self.service = Service(
            f"agent of {namespace}",
            in_namespace(namespace, [*_with_names(resolv_conf), *command]),
            log=folder / "agent.log",
            env=environment,
        )

    def configure(self, settings: Mapping[str, Any]) -> None:
        """Write the settings file; a running agent keeps what it has read."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self.store.mkdir(exist_ok=True)
        self.config.write_text(yaml.safe_dump(dict(settings), sort_keys=False))

    def start(self, *, wait: bool = True) -> None:
        """Start it; with `wait` return once it is ready."""
        self.service.start()
        if wait:
            self.wait_ready()

    def wait_ready(self, *, timeout_s: float = START_TIMEOUT_S) -> None:
        """Return once the agent says that it is ready.

        Raises:
            BedError: it ended, or did not say so in time; the message ends with its log.
        """
        self.service.wait_until(self.is_ready, timeout_s=timeout_s, interval_s=0.05)

    def is_ready(self) -> bool:
        """Ask the agent, from its own node, whether it is ready."""
        # One that hangs is asked again soon, for it may have been replaced meanwhile.
        return self.fetch(self.ready_url, check=False, timeout_s=2.0) is not None

    def fetch(self, url: str, *, check: bool = True, timeout_s: float = 15.0) -> str | None:
        """GET a URL from inside the node; None if it fails and `check` is off.

        Raises:
            BedError: it failed.
        """
        command = ["curl", "-gsSf", "--noproxy", "*", "-m", f"{timeout_s:g}", url]
        done = run(in_namespace(self.namespace, command), timeout_s=timeout_s + 5, check=check)
        return done.stdout if done.returncode == 0 else None

    def metrics(self) -> dict[str, float]:
        """Return the agent's metrics: `name{labels}` as written to its value."""
        text = self.fetch(f"http://127.0.0.1:{EXPORTER_PORT}/metrics") or ""
        samples = (line.rpartition(" ") for line in text.splitlines() if line[:1] not in ("#", ""))
        return {name: float(value) for name, _, value in samples}

    def pids(self) -> list[int]:
        """Return the process ids: the supervisor first, then its children."""
        return process_tree(self.service.pid)

    def kill(self) -> None:
        """SIGKILL supervisor and agent together, as when the node loses power."""
        if self.service.running:
            # The supervisor first, or it would start another; the agent is in a group of its own.
            pids = self.pids()
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            self.service.wait_until(lambda: all(map(is_dead, pids[1:])), timeout_s=60, alive=False)
        self.service.kill()

    def kill_worker(self) -> None:
        """SIGKILL the agent alone; the supervisor is expected to start another.

        Raises:
            BedError: no supervisor runs the agent as its child.
        """
        os.kill(self._worker(), signal.SIGKILL)

    def pause(self) -> None:
        """SIGSTOP the agent alone: it accepts connections and never answers."""
        os.kill(self._worker(), signal.SIGSTOP)

    def unpause(self) -> None:
        """SIGCONT everything."""
        for pid in self.pids():
            os.kill(pid, signal.SIGCONT)

    def _worker(self) -> int:
        pids = self.pids()
        if len(pids) < 2:
            raise BedError(f"{self.service.name} has no supervisor{self.service.tail()}")
        return pids[1]

    def stop(self, *, timeout_s: float = 30.0) -> int:
        """SIGTERM and wait; return the exit status."""
        return self.service.stop(timeout_s=timeout_s)

    def restart(self) -> None:
        """Stop if it runs, start again on the same settings and store, wait until ready."""
        self.stop()
        self.start()


def _with_names(resolv_conf: Path | None) -> list[str]:
    """Return what a command line begins with to have another /etc/resolv.conf, for itself alone."""
    if resolv_conf is None:
        return []
    script = 'mount --bind "$0" /etc/resolv.conf && exec "$@"'
    return ["unshare", "--mount", "--", "/bin/sh", "-c", script, str(resolv_conf)]
