"""The demo's agents: real ones, `shoal agent` in processes of their own, told of each other."""

import asyncio
import contextlib
import os
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import yaml

from shoal.testing.bed.processes import BedError, Service
from shoal.testing.demo.addresses import Addresses, NodeAddress
from shoal.testing.demo.failures import AddressTaken, DemoFailed

REGISTRY_NAME = "registry.test"  # a name of nobody's: RFC 6761 §6.2
READY_TIMEOUT_S = 60.0  # a dozen Pythons on a small machine that has other things to do
_STOP_TIMEOUT_S = 10.0
_ASK_TIMEOUT_S = 5.0
_POLL_INTERVAL_S = 0.05
_LOG_LINES = 15


@dataclass(frozen=True, slots=True)
class Figures:
    """What an agent counted."""

    origin_bytes: int
    peer_bytes: int


@dataclass(frozen=True, slots=True)
class Node:
    """One agent of the demo."""

    name: str
    address: NodeAddress
    service: Service

    @property
    def front_url(self) -> str:
        """Where a client asks."""
        return f"http://{self.address.front}"

    def log_tail(self) -> str:
        """Return the last lines of the agent's log, as the end of an error message."""
        try:
            lines = self.service.log.read_text(errors="replace").splitlines()
        except OSError:
            lines = []
        if not lines:
            return "; its log is empty"
        return "; its log ends:\n" + "\n".join(f"  {line}" for line in lines[-_LOG_LINES:])


class Site:
    """All agents of one demo."""

    def __init__(self, folder: Path, addresses: Addresses, *, store_bytes: int) -> None:
        """Write every agent's settings.

        Args:
            folder: for settings, stores and logs.
            addresses: where everything listens.
            store_bytes: quota of each store.
        """
        self.nodes: list[Node] = []
        for number, address in enumerate(addresses.nodes, 1):
            home = folder / f"node-{number}"
            home.mkdir()
            config = home / "agent.yaml"
            settings = agent_settings(address, addresses, home=home, store_bytes=store_bytes)
            config.write_text(yaml.safe_dump(settings, sort_keys=False))
            service = Service(
                f"the agent of node {number}", agent_command(config), log=home / "agent.log"
            )
            self.nodes.append(Node(f"node {number}", address, service))

    def start(self) -> None:
        """Start all agents.

        Raises:
            DemoFailed: one cannot be started.
        """
        for node in self.nodes:
            try:
                node.service.start()
            except (BedError, OSError) as exc:
                raise DemoFailed(f"{node.service.name} cannot be started: {exc}") from exc

    def check(self) -> None:
        """Look whether all agents run.

        Raises:
            AddressTaken: one ended since its port is taken.
            DemoFailed: one ended otherwise.
        """
        for node in self.nodes:
            if not node.service.running:
                tail = node.log_tail()
                kind = AddressTaken if "the port is in use" in tail else DemoFailed
                raise kind(f"{node.service.name} ended with {node.service.exit_status}{tail}")

    async def wait_ready(
        self, session: aiohttp.ClientSession, *, timeout_s: float = READY_TIMEOUT_S
    ) -> None:
        """Return once every agent says that it is ready.

        Raises:
            AddressTaken, DemoFailed: as `check`, or `timeout_s` passed.
        """
        give_up_s = time.monotonic() + timeout_s
        for node in self.nodes:
            while not await _is_ready(session, node):
                self.check()
                if time.monotonic() > give_up_s:
                    raise DemoFailed(
                        f"{node.service.name} was not ready after {timeout_s:g} s{node.log_tail()}"
                    )
                await asyncio.sleep(_POLL_INTERVAL_S)

    async def figures(
        self, session: aiohttp.ClientSession, *, patience_s: float = _ASK_TIMEOUT_S
    ) -> list[Figures | None]:
        """Ask every agent for what it counted; None of one that does not answer."""
        return [await _figures(session, node, patience_s=patience_s) for node in self.nodes]

    def stop(self) -> None:
        """End all agents, by force those that do not end by themselves. Idempotent."""
        for node in self.nodes:
            with contextlib.suppress(BedError, ProcessLookupError):  # it has ended already
                node.service.signal(signal.SIGTERM, group=False)
        give_up_s = time.monotonic() + _STOP_TIMEOUT_S  # for all of them together
        for node in self.nodes:
            node.service.stop(timeout_s=max(0.0, give_up_s - time.monotonic()))


def agent_command(config: Path) -> list[str]:
    """Return the command line of an agent.

    Its environment is empty but for what Python needs: SHOAL_* variables of whoever runs the demo
    would overrule its settings.
    """
    kept = [f"{name}={os.environ[name]}" for name in ("PATH", "PYTHONPATH") if name in os.environ]
    return ["env", "-i", *kept, sys.executable, "-m", "shoal", "agent", "--config", str(config)]


def agent_settings(
    address: NodeAddress, addresses: Addresses, *, home: Path, store_bytes: int
) -> dict[str, object]:
    """Return one agent's settings; all that is not said is as on a real node."""
    return {
        "front": {
            "hosts": [address.host],
            "port": address.front_port,
            "aliases": [address.host],  # on a real node it is 127.0.0.1, which needs no saying
        },
        "peer": {
            "hosts": [address.host],
            "port": address.peer_port,
            "address": address.host,
            "plaintext": True,  # all of it is on one machine, and is gone in a minute
        },
        "exporter": {"hosts": [address.host], "port": address.exporter_port},
        "store": {"path": str(home / "store"), "quota_bytes": store_bytes, "reserve_bytes": 0},
        "registries": [
            {
                "name": REGISTRY_NAME,
                "url": f"http://{addresses.registry}",
                "plain_http": True,
                "default": True,
            }
        ],
        "membership": {"static": [node.peer for node in addresses.nodes]},
        "log": {"format": "text", "level": "info"},
        # All nodes share one machine here, which may have other things to do.
        "supervisor": {"heartbeat_timeout_s": 15.0},
        "drain_timeout_s": 2.0,
    }


def parse_figures(metrics: str) -> Figures:
    """Read an agent's metrics.

    Raises:
        ValueError: there is no such metric.
    """
    return Figures(
        origin_bytes=_sample(metrics, 'shoal_origin_bytes_total{kind="blob"}'),
        peer_bytes=_sample(metrics, "shoal_peer_received_bytes_total"),
    )


def _sample(metrics: str, name: str) -> int:
    for line in metrics.splitlines():
        said, _, value = line.rpartition(" ")
        if said == name:
            return int(float(value))
    raise ValueError(f"no metric {name}")


async def _is_ready(session: aiohttp.ClientSession, node: Node) -> bool:
    try:
        status, _ = await _get(session, f"{node.front_url}/readyz")
    except (aiohttp.ClientError, TimeoutError, OSError):
        return False
    return status == 200


async def _figures(
    session: aiohttp.ClientSession, node: Node, *, patience_s: float
) -> Figures | None:
    give_up_s = time.monotonic() + patience_s
    while time.monotonic() < give_up_s:  # it may have been replaced by its supervisor just now
        try:
            status, body = await _get(session, f"http://{node.address.exporter}/metrics")
            if status == 200:
                return parse_figures(body)
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError):
            pass
        await asyncio.sleep(_POLL_INTERVAL_S)
    return None


async def _get(session: aiohttp.ClientSession, url: str) -> tuple[int, str]:
    timeout = aiohttp.ClientTimeout(total=_ASK_TIMEOUT_S)
    async with session.get(url, timeout=timeout, allow_redirects=False) as answer:
        return answer.status, await answer.text()
