"""The test bed: nodes, a registry, and the wires between them, as one context manager.

with Bed(nodes=4, rate="100mbit") as bed:
    reference = bed.registry.push(image, repository="library/demo")
    bed.nodes[0].use_registry()
    bed.nodes[0].containerd.fetch(reference)
    print(bed.registry.copies(image))
"""

import atexit
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from shoal.adapters.certificates.credentials import CredentialFiles
from shoal.testing.bed.agents import PEER_PORT
from shoal.testing.bed.clean import clean_dead
from shoal.testing.bed.network import REGISTRY, Network, Site, is_root
from shoal.testing.bed.node import ALL_DOORS, Node
from shoal.testing.bed.processes import BedError
from shoal.testing.bed.record import Guard, Record
from shoal.testing.bed.registry import Registry
from shoal.testing.bed.traffic import Door
from shoal.testing.cluster import Cluster, settings_of


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
        label: str = "",
        tls: bool = False,
    ) -> None:
        """Describe the bed; `start` or `with` builds it.

        Args:
            nodes: how many nodes; ignored if `sites` is given.
            rate: of each node's link both ways, as in `100mbit`; None leaves links unshaped.
            registry_rate: of the registry's link; None: as the nodes'.
            sites: groups of nodes behind uplinks, instead of `nodes` and `rate`.
            keep: leave the folder with all logs when the bed is taken down.
            label: goes into the record, for who looks for beds of a kind.
            tls: give each node a certificate; without, agents have peer.plaintext. May be changed
                before agents are started.
        """
        self.tls = tls
        self._sites = tuple(sites) if sites is not None else (Site(nodes, rate),)
        self._registry_rate = registry_rate if registry_rate is not None else rate
        self._keep = keep
        self._label = label
        self._record: Record | None = None
        self._guard: Guard | None = None
        self._nodes: list[Node] = []
        self._registry: Registry | None = None
        self._network: Network | None = None
        self._cluster: Cluster | None = None

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
        self._record = Record.create(label=self._label)
        self._guard = Guard(self._record.bed_id)
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
            # Nothing here is worth a gentle end, and everything is waited for, so that no child
            # is left to this process.
            for node in self._nodes:
                node.kill()
            if self._registry is not None:
                self._registry.kill()
        finally:
            if record is not None:
                record.remove(keep_folder=self._keep)
            if self._guard is not None:
                self._guard.dismiss()
                self._guard = None
            self._nodes, self._registry, self._network = [], None, None
            self._cluster = None

    def agent_settings(
        self, node: Node, changes: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        """Return settings with which `node`'s agent serves the bed's registry with its site.

        Args:
            node: whose agent.
            changes: merged over them, section by section.
        """
        site = [other for other in self._nodes if other.site == node.site]
        settings: dict[str, Any] = {
            "peer": self._peer_settings(node),
            "store": {"path": str(node.folder / "agent" / "store")},
            "registries": [
                {"name": self.registry.address(door), "plain_http": True} for door in ALL_DOORS
            ],
            "membership": {
                "site": f"site-{node.site}",
                "static": [f"{other.host.ipv4}:{PEER_PORT}" for other in site],
            },
        }
        return _merged(settings, changes or {})

    @property
    def cluster(self) -> Cluster:
        """Whose certificates the nodes have."""
        if self._cluster is None:
            self._cluster = Cluster(self.folder / "certificates", name="bed")
        return self._cluster

    def _peer_settings(self, node: Node) -> dict[str, Any]:
        if not self.tls:
            return {"address": node.host.ipv4, "plaintext": True}
        files = self.cluster.files(node.name) or self.issue(node)
        return {"address": node.host.ipv4, "tls": settings_of(files)}

    def issue(self, node: Node) -> CredentialFiles:
        """Give `node` a certificate, over the one that it has."""
        return self.cluster.issue(node.name, (node.host.ipv4, node.host.ipv6))

    def start_agents(
        self,
        changes: Mapping[str, Any] | None = None,
        *,
        nodes: Sequence[Node] | None = None,
        doors: Sequence[Door] = ALL_DOORS,
    ) -> None:
        """Start an agent on every node (or on `nodes`) and have containerd ask it first.

        Raises:
            BedError: an agent does not become ready.
        """
        chosen = self._nodes if nodes is None else nodes
        for node in chosen:
            node.start_agent(self.agent_settings(node, changes), wait=False)
        for node in chosen:
            node.agent.wait_ready()
            node.use_agent(doors=doors)

    def stop_agents(self) -> None:
        """Kill every agent, forget its store, and have containerd ask the registry straight."""
        for node in self._nodes:
            node.remove_agent()
            node.use_registry()

    def heal(self) -> None:
        """Put back what a test broke: the registry, every plug, a containerd that was ended."""
        self.registry.heal()
        for node in self._nodes:
            self.network.mend(node.name)
            if not node.containerd.service.running:
                node.containerd.start()

    def __enter__(self) -> "Bed":
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()


def _merged(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return `base` with `changes` over it; sections are merged, anything else is replaced."""
    result = dict(base)
    for key, value in changes.items():
        below = result.get(key)
        both = isinstance(below, Mapping) and isinstance(value, Mapping)
        result[key] = _merged(below, value) if both else value  # type: ignore[arg-type]
    return result
