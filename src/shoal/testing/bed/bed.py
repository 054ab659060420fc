"""The test bed: nodes, a registry, and the wires between them, as one context manager.

with Bed(nodes=4, rate="100mbit") as bed:
    reference = bed.registry.push(image, repository="library/demo")
    bed.nodes[0].use_registry()
    bed.nodes[0].containerd.fetch(reference)
    print(bed.registry.copies(image))
"""

import atexit
import contextlib
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from shoal.testing.bed.agents import FRONT_PORT, Agent
from shoal.testing.bed.clean import clean_dead
from shoal.testing.bed.containerd import Containerd
from shoal.testing.bed.cri import ImageService
from shoal.testing.bed.network import REGISTRY, Host, Network, Site, is_root
from shoal.testing.bed.processes import BedError, bed_environment, in_namespace, run
from shoal.testing.bed.record import Record
from shoal.testing.bed.registry import Registry
from shoal.testing.bed.traffic import Door

# Every door that nodes pull through.
ALL_DOORS = (Door.OPEN, Door.BASIC, Door.TOKEN, Door.REDIRECTING)

FRONT_URL = f"http://127.0.0.1:{FRONT_PORT}"
DEFAULT_READY_URL = f"http://127.0.0.1:{FRONT_PORT}/readyz"


class Node:
    """One node: a network namespace with a container runtime and perhaps an agent."""

    def __init__(
        self, host: Host, *, site: int, folder: Path, cgroup: str, registry: Registry
    ) -> None:
        self.host = host
        self.site = site  # from 1
        self.folder = folder
        self.containerd = Containerd(namespace=host.namespace, folder=folder, cgroup=cgroup)
        self._registry = registry
        self._agent: Agent | None = None

    def __repr__(self) -> str:
        return f"<Node {self.name} {self.host.ipv4}>"

    @property
    def name(self) -> str:
        """n1, n2, ..."""
        return self.host.name

    @property
    def cri(self) -> ImageService:
        """The node's CRI image service."""
        return self.containerd.cri

    @property
    def certs_d(self) -> Path:
        """The node's folder of registry configurations, containerd's `config_path`."""
        return self.containerd.certs_d

    @property
    def agent(self) -> Agent:
        """The node's agent.

        Raises:
            BedError: none was started.
        """
        if self._agent is None:
            raise BedError(f"{self.name} has no agent: call start_agent first")
        return self._agent

    @property
    def has_agent(self) -> bool:
        """Whether an agent was ever started here."""
        return self._agent is not None

    def command(self, argv: Sequence[str]) -> list[str]:
        """Return the command line that runs `argv` on the node's network."""
        return in_namespace(self.host.namespace, argv)

    def run(
        self, *argv: str, timeout_s: float = 60.0, check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        """Run a command on the node's network to its end; see `processes.run`."""
        return run(self.command(argv), timeout_s=timeout_s, check=check)

    def popen(self, *argv: str, **options: Any) -> "subprocess.Popen[bytes]":  # noqa: ANN401
        """Start a command on the node's network; the caller waits for it."""
        return subprocess.Popen(self.command(argv), env=bed_environment(), **options)

    def ctr(self, *arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:  # noqa: ANN401
        """Run `ctr` on the node's containerd; see `Containerd.ctr`."""
        return self.containerd.ctr(*arguments, **options)

    def use_registry(
        self,
        *,
        doors: Sequence[Door] = ALL_DOORS,
        mirror: str | None = None,
    ) -> None:
        """Write hosts.toml for the registry's doors: straight, or with `mirror` asked first."""
        for door in doors:
            text = self._registry.hosts_toml(door=door, mirror=mirror)
            self.containerd.write_hosts(self._registry.address(door), text)

    def use_agent(self, *, doors: Sequence[Door] = ALL_DOORS) -> None:
        """Write hosts.toml with this node's agent before the registry."""
        self.use_registry(doors=doors, mirror=FRONT_URL)

    def start_agent(
        self,
        settings: Mapping[str, Any],
        *,
        wait: bool = True,
        ready_url: str = DEFAULT_READY_URL,
    ) -> Agent:
        """Start the agent with these settings, written to YAML as they are.

        Raises:
            BedError: one runs here already, or it does not become ready.
        """
        if self._agent is not None and self._agent.service.running:
            raise BedError(f"{self.name} runs an agent already")
        self._agent = Agent(
            namespace=self.host.namespace, folder=self.folder / "agent", ready_url=ready_url
        )
        self._agent.configure(settings)
        self._agent.start(wait=wait)
        return self._agent

    def stop(self) -> None:
        """End what runs on the node, gently."""
        if self._agent is not None and self._agent.service.running:
            self._agent.unpause()
            self._agent.stop()
        self.containerd.stop()


class Bed:
    """N nodes and a registry; a context manager. Needs root."""

    def __init__(
        self,
        *,
        nodes: int = 4,
        rate: str | None = None,
        registry_rate: str | None = None,
        sites: Sequence[Site] | None = None,
        keep: bool = False,
    ) -> None:
        """Describe the bed; `start` or `with` builds it.

        Args:
            nodes: how many nodes; ignored if `sites` is given.
            rate: of each node's link both ways, as in `100mbit`; None leaves links unshaped.
            registry_rate: of the registry's link; None: as the nodes'.
            sites: groups of nodes behind uplinks, instead of `nodes` and `rate`.
            keep: leave the folder with all logs when the bed is taken down.
        """
        self._sites = tuple(sites) if sites is not None else (Site(nodes, rate),)
        self._registry_rate = registry_rate if registry_rate is not None else rate
        self._keep = keep
        self._record: Record | None = None
        self._guard: subprocess.Popen[bytes] | None = None
        self._nodes: list[Node] = []
        self._registry: Registry | None = None
        self._network: Network | None = None

    @property
    def nodes(self) -> list[Node]:
        """The nodes, n1 first."""
        return self._nodes

    @property
    def registry(self) -> Registry:
        """The registry.

        Raises:
            BedError: the bed is not up.
        """
        if self._registry is None:
            raise BedError("the bed is not up")
        return self._registry

    @property
    def network(self) -> Network:
        """The wires.

        Raises:
            BedError: the bed is not up.
        """
        if self._network is None:
            raise BedError("the bed is not up")
        return self._network

    @property
    def record(self) -> Record:
        """The bed's id and folder.

        Raises:
            BedError: the bed is not up.
        """
        if self._record is None:
            raise BedError("the bed is not up")
        return self._record

    @property
    def folder(self) -> Path:
        """Everything of this bed on disk."""
        return self.record.folder

    def start(self) -> "Bed":
        """Build everything and wait until it answers; takes down what is there on failure.

        Raises:
            BedError: not root, or a part does not come up.
        """
        if not is_root():
            raise BedError("the test bed makes network namespaces and so needs root")
        clean_dead()
        self._record = Record.create()
        self._guard = self._record.guard()
        atexit.register(self.stop)
        try:
            self._build(self._record)
        except BaseException:
            self.stop()
            raise
        return self

    def _build(self, record: Record) -> None:
        self._network = Network(record)
        hosts, registry = self._network.build(self._sites, registry_rate=self._registry_rate)
        self._registry = Registry(registry, folder=record.folder / REGISTRY, network=self._network)
        site_numbers = [i for i, site in enumerate(self._sites, 1) for _ in range(site.nodes)]
        self._nodes = [
            Node(
                host,
                site=number,
                folder=record.folder / host.name,
                cgroup=record.cgroup,
                registry=self._registry,
            )
            for host, number in zip(hosts, site_numbers, strict=True)
        ]
        # Everything starts at once and only then is waited for: start-up is mostly waiting.
        self._registry.start(wait=False)
        for node in self._nodes:
            node.containerd.start(wait=False)
        for node in self._nodes:
            node.containerd.wait_ready()
        self._registry.wait_ready()

    def stop(self) -> None:
        """Take everything down; harmless if it is down already."""
        atexit.unregister(self.stop)
        record, self._record = self._record, None
        try:
            for node in self._nodes:
                with contextlib.suppress(BedError):
                    node.stop()
            if self._registry is not None:
                self._registry.shut_down()
        finally:
            if record is not None:
                record.remove(keep_folder=self._keep)
            if self._guard is not None:
                self._guard.communicate(b"\n", timeout=20)
                self._guard = None
            self._nodes, self._registry, self._network = [], None, None

    def __enter__(self) -> "Bed":
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()
