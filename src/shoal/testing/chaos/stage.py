"""The bed of a chaos run: nodes that pull, one for liars, a registry behind a fault proxy."""

import contextlib
import os
import shutil
import sys
import threading
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any

from shoal.testing.bed.agents import PEER_PORT
from shoal.testing.bed.bed import Bed
from shoal.testing.bed.fresh import FreshImages, Pushed
from shoal.testing.bed.node import Node
from shoal.testing.bed.processes import BedError, Service, in_namespace, run
from shoal.testing.bed.traffic import Door
from shoal.testing.chaos.fault_proxy import Mode

RATE = "100mbit"
LAYER_BYTES = (20_000, 300_000, 1 << 20, 6 << 20)
QUOTA_BYTES = 48 << 20  # some six images: eviction is part of it
DISK_BYTES = 96 << 20
PROXY_PORT = 5020
IMAGES_KEPT = 3  # the last images that were pushed: what nodes pull, and what liars lie about

_FAKETIME = "/usr/lib"


class Stage:
    """Everything that faults break and pulls use; a context manager. Needs root."""

    def __init__(self, *, nodes: int, seed: int, keep: bool = False, tls: bool = False) -> None:
        """Describe it; `with` builds it.

        Args:
            nodes: how many pull; one more is there for liars.
            seed: of what faults pick while they break, such as a byte of a file.
            keep: leave the folder with all logs.
            tls: give agents and liars certificates.
        """
        self.bed = Bed(nodes=nodes + 1, rate=RATE, keep=keep, label="chaos", tls=tls)
        self.random = Random(seed)  # noqa: S311 - repeatable on purpose
        self.pushed: deque[Pushed] = deque(maxlen=IMAGES_KEPT)
        self.changed = threading.Condition()  # notified when an image was pushed
        self._count = nodes
        self._images: FreshImages | None = None
        self._proxy: Service | None = None

    @property
    def nodes(self) -> Sequence[Node]:
        """The nodes that pull."""
        return self.bed.nodes[: self._count]

    @property
    def liar_node(self) -> Node:
        """The node that has no agent, for members that lie."""
        return self.bed.nodes[self._count]

    @property
    def members(self) -> list[str]:
        """The whole site; whom nobody lies as is a member that never answers."""
        return [f"{node.host.ipv4}:{PEER_PORT}" for node in self.bed.nodes]

    @property
    def mode_file(self) -> Path:
        """What tells the fault proxy what to do."""
        return self.bed.folder / "fault-mode"

    def clock_file(self, node: Node) -> Path:
        """What tells libfaketime how wrong a node's agent has the time."""
        return node.folder / "clock"

    def settings(self, node: Node, *, without: str | None = None) -> dict[str, Any]:
        """Return a node's settings.

        Args:
            node: whose agent.
            without: a member to leave out.
        """
        registry = self.bed.registry
        changes = {
            "membership": {"static": [m for m in self.members if m != without]},
            "store": {"quota_bytes": QUOTA_BYTES, "reserve_bytes": 0},
            "registries": [
                {
                    "name": registry.address(),
                    "url": f"http://{registry.host.ipv4}:{PROXY_PORT}",
                    "plain_http": True,
                }
            ],
        }
        return self.bed.agent_settings(node, changes)

    def set_mode(self, mode: Mode) -> None:
        """Have the registry misbehave towards agents."""
        new = self.mode_file.with_suffix(".new")
        new.write_text(mode)
        new.rename(self.mode_file)

    def push(self) -> Pushed:
        """Push an image that nobody has seen, and tell who waits for one."""
        assert self._images is not None
        pushed = self._images(layer_bytes=LAYER_BYTES, repository="library/chaos")
        with self.changed:
            oldest = self.pushed[0] if len(self.pushed) == IMAGES_KEPT else None
            self.pushed.append(pushed)
            self.changed.notify_all()
        if oldest is not None:
            shutil.rmtree(oldest.image.layout, ignore_errors=True)
        return pushed

    def __enter__(self) -> "Stage":
        self.bed.start()
        try:
            self._start()
        except BaseException:
            self.bed.stop()
            raise
        return self

    def _start(self) -> None:
        self._images = FreshImages(self.bed.registry, folder=self.bed.folder / "images")
        self.set_mode(Mode.PASS)
        registry = self.bed.registry
        upstream = registry.url(Door.OPEN)
        command = ["-m", "shoal.testing.chaos.fault_proxy", registry.host.ipv4, str(PROXY_PORT)]
        self._proxy = Service(
            "fault proxy",
            in_namespace(
                registry.host.namespace, [sys.executable, *command, upstream, str(self.mode_file)]
            ),
            log=self.bed.folder / "fault-proxy.log",
        )
        self._proxy.start()
        self._proxy.wait_until(lambda: "ready" in self._proxy_said(), timeout_s=60)
        for node in self.nodes:
            node.use_small_disk(DISK_BYTES)
            self.clock_file(node).write_text("+0\n")
            environment = _faked_time(self.clock_file(node))
            node.start_agent(self.settings(node), wait=False, environment=environment)
        for node in self.nodes:
            node.agent.wait_ready()
            node.use_agent(doors=(Door.OPEN,))

    def _proxy_said(self) -> str:
        return self._proxy.tail() if self._proxy is not None else ""

    def __exit__(self, *_: object) -> None:
        if self._proxy is not None:
            self._proxy.kill()
        for node in self.nodes:
            with contextlib.suppress(BedError):
                if node.has_agent:
                    node.agent.kill()
                    run(["umount", "--lazy", str(node.agent.store)], check=False)
        self.bed.stop()


def _faked_time(clock: Path) -> dict[str, str]:
    """Return the environment in which libfaketime moves the wall clock, and nothing else.

    Source: faketime(1): the file is read again once a second, the monotonic clock stays right. The
    "fix" of monotonic waits is for C libraries older than ours: with it a timed wait on a condition
    ends at once, so that threads that wait for Python's lock spin, a thousand times as dear.
    """
    libraries = sorted(Path(_FAKETIME).glob("*/faketime/libfaketime.so.1"))
    if not libraries:
        raise BedError("libfaketime is not installed: run ./dev setup as root")
    return {
        "LD_PRELOAD": str(libraries[0]),
        "FAKETIME_TIMESTAMP_FILE": str(clock),
        "FAKETIME_CACHE_DURATION": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "DONT_FAKE_MONOTONIC": "1",
        "FAKETIME_FORCE_MONOTONIC_FIX": "0",
        "NO_FAKE_STAT": "1",
        "FAKETIME_DONT_RESET": "1",
        "HOME": os.environ.get("HOME", "/"),
    }
