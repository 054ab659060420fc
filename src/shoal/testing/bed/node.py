"""One node of the bed: a network namespace with a container runtime and perhaps an agent."""

import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from shoal.testing.bed.agents import FRONT_PORT, Agent
from shoal.testing.bed.containerd import Containerd
from shoal.testing.bed.cri import ImageService
from shoal.testing.bed.network import Host
from shoal.testing.bed.processes import BedError, bed_environment, in_namespace, run
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
        resolv_conf: Path | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> Agent:
        """Start the agent with these settings, written to YAML as they are.

        Args:
            settings: the agent's.
            wait: return once it is ready.
            ready_url: what answers 200 then.
            resolv_conf: what the agent finds at /etc/resolv.conf; None: the machine's own.
            environment: variables for the agent beside those of the bed.

        Raises:
            BedError: one runs here already, or it does not become ready.
        """
        if self._agent is not None and self._agent.service.running:
            raise BedError(f"{self.name} runs an agent already")
        self._agent = Agent(
            namespace=self.host.namespace,
            folder=self.folder / "agent",
            ready_url=ready_url,
            resolv_conf=resolv_conf,
            environment=environment,
        )
        self._agent.configure(settings)
        self._agent.start(wait=wait)
        return self._agent

    def use_small_disk(self, size_bytes: int) -> None:
        """Give the next agent a store on a disk of its own, of this size, until it is removed."""
        store = self.folder / "agent" / "store"
        store.mkdir(parents=True, exist_ok=True)
        run(["mount", "-t", "tmpfs", "-o", f"size={size_bytes},mode=700", "tmpfs", str(store)])

    def remove_agent(self) -> None:
        """Kill the agent, if there is one, and delete its folder with its store."""
        if self._agent is not None:
            self._agent.kill()
            if self._agent.store.is_mount():
                # Lazily: a process that was killed may hold it open for a moment longer.
                run(["umount", "--lazy", str(self._agent.store)])
            shutil.rmtree(self._agent.folder, ignore_errors=True)
            self._agent = None

    def kill(self) -> None:
        """End what runs on the node at once."""
        if self._agent is not None:
            self._agent.kill()
        self.containerd.kill()
