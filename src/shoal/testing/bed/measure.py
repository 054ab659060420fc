"""What the bed can measure: cold fetches on many nodes at once, and what a link really carries."""

import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from shoal.testing.bed import stream
from shoal.testing.bed.bed import Bed
from shoal.testing.bed.network import Host
from shoal.testing.bed.node import Node
from shoal.testing.bed.processes import BedError, bed_environment, in_namespace, run
from shoal.testing.bed.traffic import Traffic
from shoal.testing.image_layout import BuiltImage

FETCH_TIMEOUT_S = 600.0
_STREAM_PORT = 9000


@dataclass(frozen=True, slots=True)
class Fetch:
    """One node's fetch: how long from the common start, and how it failed if it did."""

    node: str
    seconds: float
    error: str = ""


@dataclass(frozen=True, slots=True)
class Rollout:
    """Fetches that began together, and what they cost."""

    fetches: tuple[Fetch, ...]
    traffic: Traffic
    copies: float  # the registry's blob bytes over the image's layers
    cpu_idle: float  # share of the machine's processor time, 0 to 1; waiting for disks is idle too

    @property
    def last_s(self) -> float:
        """When the last node had everything, in seconds from the common start."""
        return max(fetch.seconds for fetch in self.fetches)

    @property
    def failed(self) -> tuple[Fetch, ...]:
        """The fetches that failed."""
        return tuple(fetch for fetch in self.fetches if fetch.error)


class _Race:
    """Commands that are started, wait at a line, and are let go at the same moment."""

    def __init__(self, commands: Sequence[tuple[str, Sequence[str]]]) -> None:
        # The shell waits for the start on its stdin and then is the command: all that costs time
        # at a start (processes, namespaces) is over before.
        self._runners = [
            (
                name,
                subprocess.Popen(
                    ["/bin/sh", "-c", 'read -r _ && exec "$@" </dev/null', "sh", *command],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    env=bed_environment(),
                ),
            )
            for name, command in commands
        ]
        self._fetches: dict[str, Fetch] = {}
        self._lock = threading.Lock()

    def run(self, *, timeout_s: float) -> tuple[Fetch, ...]:
        """Let all go; return when the last is done, or was ended after `timeout_s`."""
        began_s = time.monotonic()
        watchers = [
            threading.Thread(target=self._watch, args=(name, process, began_s, timeout_s))
            for name, process in self._runners
        ]
        for watcher in watchers:
            watcher.start()
        for watcher in watchers:
            watcher.join()
        return tuple(self._fetches[name] for name, _ in self._runners)

    def _watch(
        self, name: str, process: "subprocess.Popen[bytes]", began_s: float, timeout_s: float
    ) -> None:
        error = ""
        try:
            output, _ = process.communicate(b"go\n", timeout=timeout_s)
            if process.returncode != 0:
                error = f"exit {process.returncode}: {output[-1000:].decode(errors='replace')}"
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            error = f"no end after {timeout_s:g} s"
        with self._lock:
            self._fetches[name] = Fetch(name, time.monotonic() - began_s, error)


def rollout(
    bed: Bed,
    image: BuiltImage,
    reference: str,
    *,
    nodes: Sequence[Node] | None = None,
    timeout_s: float = FETCH_TIMEOUT_S,
) -> Rollout:
    """Have all nodes fetch an image's content at the same moment, with `ctr content fetch`.

    The caller sees to it that it is cold: an image that no node has seen, or `make_cold`.
    """
    mark = bed.registry.mark()
    race = _Race(
        [
            (node.name, node.containerd.fetch_command(reference))
            for node in (bed.nodes if nodes is None else nodes)
        ]
    )
    before = _cpu_ticks()
    fetches = race.run(timeout_s=timeout_s)
    after = _cpu_ticks()
    bed.registry.settle()
    return Rollout(
        fetches=fetches,
        traffic=bed.registry.traffic(image, since=mark),
        copies=bed.registry.copies(image, since=mark),
        cpu_idle=(after[0] - before[0]) / max(1, after[1] - before[1]),
    )


def make_cold(bed: Bed) -> None:
    """Take away what nodes have: containerd's content, agents and their stores."""
    bed.stop_agents()
    for node in bed.nodes:
        node.containerd.wipe()


def check_complete(rolled: Rollout, bed: Bed, image: BuiltImage) -> None:
    """Check that every fetch succeeded and every node holds every layer.

    Raises:
        BedError: one does not; the message says which.
    """
    if rolled.failed:
        raise BedError("; ".join(f"{fetch.node}: {fetch.error}" for fetch in rolled.failed))
    by_name = {node.name: node for node in bed.nodes}
    for fetch in rolled.fetches:
        for layer in image.layers:
            if not by_name[fetch.node].containerd.has_content(layer.digest):
                raise BedError(f"{fetch.node} fetched without {layer.digest}")


def goodput(source: Host, destination: Host, *, seconds: float = 2.0, ipv6: bool = False) -> float:
    """Measure one TCP stream's payload from `source` to `destination`, in bytes a second.

    Raises:
        BedError: the stream broke.
    """
    address = source.ipv6 if ipv6 else source.ipv4
    script = [sys.executable, "-I", str(Path(stream.__file__))]
    sender = subprocess.Popen(
        in_namespace(source.namespace, [*script, "send", address, str(_STREAM_PORT)]),
        env=bed_environment(),
    )
    try:
        receive = [*script, "receive", address, str(_STREAM_PORT), f"{seconds:g}"]
        done = run(in_namespace(destination.namespace, receive), timeout_s=seconds + 20)
        return float(done.stdout)
    finally:
        sender.kill()
        sender.wait(10)


def _cpu_ticks() -> tuple[int, int]:
    """Return the machine's idle and total processor time since boot, in ticks. See proc(5)."""
    line = Path("/proc/stat").read_text().split("\n", 1)[0]
    # user nice system idle iowait irq softirq steal; guest time is counted in user already.
    ticks = [int(word) for word in line.split()[1:9]]
    return ticks[3] + ticks[4], sum(ticks)
