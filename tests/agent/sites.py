"""Sites of whole agents in processes of their own, on loopback.

Each has an address that is its alone, since that is what peers know a node by.
"""

import asyncio
import hashlib
import itertools
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import yaml
from prometheus_client.parser import text_string_to_metric_families
from yarl import URL

from agent.conftest import REPOSITORY, START_TIMEOUT_S, Registry
from shoal.core.digest import Digest

MB = 1_000_000
PORTS = {"front": 65101, "peer": 65102, "exporter": 65103}
# Each site has addresses of its own: the kernel ends the agents of the one before, a moment later,
# and another run of the tests may be under way on this machine.
_second = 1 + os.getpid() % 250
_thirds = itertools.count(2)


@dataclass(slots=True)
class Node:
    """An agent in a process of its own, at an address of loopback that is its alone."""

    host: str
    folder: Path
    registry: Registry
    members: list[str]
    settings: dict[str, Any] = field(default_factory=dict)
    process: "subprocess.Popen[bytes] | None" = None

    @property
    def config(self) -> Path:
        """Its settings file."""
        return self.folder / f"{self.host}.yaml"

    @property
    def log(self) -> str:
        """What it has logged."""
        return (self.folder / f"{self.host}.log").read_text(encoding="utf-8")

    def records(self) -> list[dict[str, Any]]:
        """Return what it has logged so far, line by line."""
        return [json.loads(line) for line in self.log.splitlines() if line.endswith("}")]

    def write(self, **settings: Any) -> None:
        """Write its settings file, with these sections added."""
        self.settings = settings
        listeners = {name: {"hosts": [self.host], "port": port} for name, port in PORTS.items()}
        listeners["front"]["allow_remote"] = True
        values = {
            **listeners,
            "store": {"path": str(self.folder / self.host), "reserve_bytes": 0},
            "registries": [{"name": self.registry.address, "plain_http": True}],
            "membership": {"static": [f"{m}:{PORTS['peer']}" for m in self.members]},
            "supervisor": {"heartbeat_timeout_s": 20.0},
            "drain_timeout_s": 2.0,
            **settings,
        }
        # Without certificates, if the settings say nothing of it.
        shown = settings.get("peer", {"plaintext": True})
        values["peer"] = {**listeners["peer"], "address": self.host, **shown}
        self.config.write_text(yaml.safe_dump(values), encoding="utf-8")

    def start(self) -> None:
        """Begin; `ready` waits until it answers."""
        environment = {k: v for k, v in os.environ.items() if not k.startswith("SHOAL_")}
        with (self.folder / f"{self.host}.log").open("wb") as stderr:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "shoal", "agent", "--config", str(self.config)],
                env=environment,
                stdin=subprocess.DEVNULL,
                stderr=stderr,
            )

    def hang_up(self) -> None:
        """Tell its supervisor to have the settings read again."""
        assert self.process is not None
        self.process.send_signal(signal.SIGHUP)

    async def until(self, holds: Callable[[], Any], *, timeout_s: float = 60.0) -> None:
        """Wait until `holds()`."""
        give_up_s = time.monotonic() + timeout_s
        while not holds():
            assert self.process is not None
            assert self.process.poll() is None, self.log
            assert time.monotonic() < give_up_s, self.log
            await asyncio.sleep(0.02)

    async def ready(self, session: aiohttp.ClientSession, *, peers: int) -> None:
        """Wait until it answers and is connected with so many peers."""
        await self.until(lambda: "agent_ready" in self.log, timeout_s=START_TIMEOUT_S)
        await self.connected(session, peers)

    async def connected(self, session: aiohttp.ClientSession, wanted: int) -> None:
        """Wait until it is connected with so many peers or more."""
        while await self.metric(session, "shoal_peers_connected") < wanted:  # noqa: ASYNC110
            await asyncio.sleep(0.05)

    async def metric(self, session: aiohttp.ClientSession, name: str, **labels: str) -> float:
        """Return the sum of a metric's samples, of those with these labels."""
        async with session.get(f"http://{self.host}:{PORTS['exporter']}/metrics") as response:
            page = await response.text()
        return sum(
            sample.value
            for family in text_string_to_metric_families(page)
            for sample in family.samples
            if sample.name == name and labels.items() <= sample.labels.items()
        )

    async def pull(self, session: aiohttp.ClientSession, digest: Digest, **options: Any) -> "Pull":
        """Pull a blob as a client does."""
        pull = Pull(digest, **options)
        await pull.run(session, self)
        return pull

    def stop(self) -> None:
        """End it."""
        if self.process is not None:
            self.process.kill()
            self.process.wait(START_TIMEOUT_S)


@dataclass(slots=True)
class Pull:
    """A blob on its way to a client: when which byte came."""

    digest: Digest
    at: Callable[[int], None] | None = None  # told how many bytes have come
    times: list[tuple[float, int]] = field(default_factory=list)

    async def run(self, session: aiohttp.ClientSession, node: Node) -> None:
        """Read it to its end, and check it."""
        name = node.registry.address.replace(":", "%3A")
        path = f"/v2/{REPOSITORY}/blobs/{self.digest}?ns={name}"
        url = URL(f"http://{node.host}:{PORTS['front']}{path}", encoded=True)
        received, hasher = 0, hashlib.sha256()
        self.times.append((time.monotonic(), 0))
        async with session.get(url) as response:
            assert response.status == 200, node.log
            async for chunk in response.content.iter_any():
                hasher.update(chunk)
                received += len(chunk)
                self.times.append((time.monotonic(), received))
                if self.at is not None:
                    self.at(received)
        assert hasher.hexdigest() == self.digest.hex

    @property
    def seconds(self) -> float:
        """From the request to the last byte."""
        return self.times[-1][0] - self.times[0][0]


def addresses(count: int) -> list[str]:
    """Return addresses for a site, which no other has."""
    third = next(_thirds)
    return [f"127.{_second}.{third}.{number}" for number in range(1, count + 1)]


@asynccontextmanager
async def site(
    folder: Path,
    registry: Registry,
    *,
    each: Sequence[dict[str, Any]],
    hosts: Sequence[str] = (),
    peers: int | None = None,
) -> AsyncIterator[tuple[aiohttp.ClientSession, list[Node]]]:
    """Run an agent for each of these settings, all in one site.

    Args:
        folder: for everything that they write.
        registry: the one that they serve.
        each: settings beside those that every one has.
        hosts: their addresses, where they have to be known before; of `addresses`.
        peers: with how many others each is connected before it is ready; None: with all.
    """
    members = list(hosts) or addresses(len(each))
    wanted = len(members) - 1 if peers is None else peers
    nodes = [Node(host, folder, registry, members) for host in members]
    try:
        for node, settings in zip(nodes, each, strict=True):
            node.write(**settings)
            node.start()
        timeout = aiohttp.ClientTimeout(total=120)
        async with aiohttp.ClientSession(timeout=timeout, auto_decompress=False) as session:
            async with asyncio.timeout(START_TIMEOUT_S):
                for node in nodes:
                    await node.ready(session, peers=wanted)
            yield session, nodes
    finally:
        for node in nodes:
            node.stop()


def blob(registry: Registry, size: int) -> Digest:
    """Put a blob into the registry."""
    return registry.inner.add_blob(os.urandom(size), repository=REPOSITORY)
