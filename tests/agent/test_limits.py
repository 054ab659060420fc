"""Limits of whole agents: rates hold, are shared evenly, and change in the middle of a pull."""

import asyncio
import hashlib
import itertools
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families
from yarl import URL

from agent.conftest import REPOSITORY, START_TIMEOUT_S, Registry
from shoal.core.digest import Digest

MB = 1_000_000
PORTS = {"front": 65101, "peer": 65102, "exporter": 65103}
# What a limit lets through at once after a pause, and what the kernel and the clients' libraries
# hold of a body: at the rates below less than the 5 % that a limit may be off.
TOLERANCE = 1.05
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
        values["peer"] |= {"address": self.host, "plaintext": True}
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

    async def ready(self, session: aiohttp.ClientSession) -> None:
        """Wait until it answers and knows its peers."""
        await self.until(lambda: "agent_ready" in self.log, timeout_s=START_TIMEOUT_S)
        wanted = len(self.members) - 1
        while await self.metric(session, "shoal_peers_connected") < wanted:  # noqa: ASYNC110
            await asyncio.sleep(0.05)

    async def metric(self, session: aiohttp.ClientSession, name: str) -> float:
        """Return the sum of a metric's samples."""
        async with session.get(f"http://{self.host}:{PORTS['exporter']}/metrics") as response:
            page = await response.text()
        return sum(
            sample.value
            for family in text_string_to_metric_families(page)
            for sample in family.samples
            if sample.name == name
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


@asynccontextmanager
async def site(
    folder: Path, registry: Registry, *, each: list[dict[str, Any]]
) -> AsyncIterator[tuple[aiohttp.ClientSession, list[Node]]]:
    """Run an agent for each of these settings, all in one site."""
    third = next(_thirds)
    members = [f"127.{_second}.{third}.{number}" for number in range(1, len(each) + 1)]
    nodes = [Node(host, folder, registry, members) for host in members]
    try:
        for node, settings in zip(nodes, each, strict=True):
            node.write(**settings)
            node.start()
        timeout = aiohttp.ClientTimeout(total=120)
        async with aiohttp.ClientSession(timeout=timeout, auto_decompress=False) as session:
            async with asyncio.timeout(START_TIMEOUT_S):
                for node in nodes:
                    await node.ready(session)
            yield session, nodes
    finally:
        for node in nodes:
            node.stop()


def blob(registry: Registry, size: int) -> Digest:
    """Put a blob into the registry."""
    return registry.inner.add_blob(os.urandom(size), repository=REPOSITORY)


def at_least_s(size: int, rate: float) -> float:
    """Return how long `size` bytes must take at a rate that may be off by 5 %."""
    return size / (rate * TOLERANCE)


async def test_a_registry_s_rate_holds_and_changes_in_the_middle_of_a_pull(
    tmp_path: Path, registry: Registry
) -> None:
    size = 24 * MB
    digest = blob(registry, size)
    slow = {"limits": {"registry_bytes_per_s": "4MB/s"}}
    async with site(tmp_path, registry, each=[slow]) as (session, [node]):
        halfway_s: list[float] = []

        def at(received: int) -> None:
            if received >= size / 2 and not halfway_s:
                halfway_s.append(time.monotonic())
                node.write()  # no limits at all
                node.hang_up()

        pull = await node.pull(session, digest, at=at)
        began_s = pull.times[0][0]
        assert halfway_s[0] - began_s >= at_least_s(size // 2, 4 * MB)
        # Without the limit it takes a fraction of a second; with it, three more.
        assert '"settings_reread"' in node.log
        assert await node.metric(session, "shoal_config_last_reload_successful") == 1
        assert await node.metric(session, "shoal_limit_registry_bytes_per_second") == 0
        assert registry.inner.counters.blob_body_bytes[str(digest)] == size


async def test_a_wrong_file_changes_nothing_and_says_what_was_expected(
    tmp_path: Path, registry: Registry
) -> None:
    slow = {"limits": {"registry_bytes_per_s": "4MB/s"}}
    async with site(tmp_path, registry, each=[slow]) as (session, [node]):
        node.write(limits={"registry_bytes_per_s": "4M"}, log={"level": "debug"})
        node.hang_up()
        await node.until(lambda: "settings_not_reread" in node.log)
        assert "limits.registry_bytes_per_s: expected a rate in bytes a second" in node.log
        assert await node.metric(session, "shoal_config_last_reload_successful") == 0
        assert await node.metric(session, "shoal_limit_registry_bytes_per_second") == 4 * MB
        node.write(limits={"registry_bytes_per_s": "8MB/s"}, front={"port": 65104})
        node.hang_up()
        await node.until(lambda: "settings_need_restart" in node.log)
        assert await node.metric(session, "shoal_config_last_reload_successful") == 1
        assert await node.metric(session, "shoal_limit_registry_bytes_per_second") == 8 * MB


async def _seeded(session: aiohttp.ClientSession, node: Node, digest: Digest) -> None:
    """Have `node` hold the blob, from the registry."""
    await node.pull(session, digest)
    await node.until(lambda: any((node.folder / node.host / "blobs").rglob(digest.hex)))


@pytest.mark.parametrize("limited", ["upload_bytes_per_s", "download_bytes_per_s"])
async def test_a_rate_between_peers_holds_and_is_used(
    tmp_path: Path, registry: Registry, limited: str
) -> None:
    size, rate = 16 * MB, 4 * MB
    digest = blob(registry, size)
    limits = {"limits": {limited: rate}}
    each = [limits, {}] if limited.startswith("upload") else [{}, limits]
    async with site(tmp_path, registry, each=each) as (session, [seed, other]):
        await _seeded(session, seed, digest)
        pull = await other.pull(session, digest)
        assert pull.seconds >= at_least_s(size, rate)
        assert pull.seconds <= 4 * size / rate  # it is used, however busy this machine is
        assert await other.metric(session, "shoal_peer_received_bytes_total") == size
        assert await seed.metric(session, "shoal_peer_sent_bytes_total") == size
        assert registry.inner.counters.blob_body_bytes[str(digest)] == size


async def test_a_megabit_flows_smoothly_and_nobody_takes_it_for_a_stall(
    tmp_path: Path, registry: Registry
) -> None:
    size = 1_200_000  # five pieces
    digest = blob(registry, size)
    each: list[dict[str, Any]] = [
        {"limits": {"upload_bytes_per_s": "1Mbit/s"}},
        {"limits": {"download_bytes_per_s": "1Mbit/s"}},
        {},
    ]
    async with site(tmp_path, registry, each=each) as (session, [seed, slow, quick]):
        await _seeded(session, seed, digest)
        pulls = await asyncio.gather(*(node.pull(session, digest) for node in (slow, quick)))
        assert pulls[0].seconds >= at_least_s(size, 125_000)
        for node in (slow, quick):
            assert await node.metric(session, "shoal_peer_received_bytes_total") == size
            assert await node.metric(session, "shoal_pieces_failed_total") == 0
        assert registry.inner.counters.blob_body_bytes[str(digest)] == size


async def test_blobs_share_an_upload_evenly_however_many_want_each(
    tmp_path: Path, registry: Registry
) -> None:
    popular, single = blob(registry, 12 * MB), blob(registry, 6 * MB)
    each: list[dict[str, Any]] = [{"limits": {"upload_bytes_per_s": "2MB/s"}}, {}, {}, {}]
    async with site(tmp_path, registry, each=each) as (session, [seed, *others]):
        for digest in (popular, single):
            await _seeded(session, seed, digest)
        before = await seed.metric(session, "shoal_peer_sent_bytes_total")
        pulls = [asyncio.ensure_future(other.pull(session, popular)) for other in others[:2]]
        await others[2].pull(session, single)
        sent = await seed.metric(session, "shoal_peer_sent_bytes_total") - before
        await asyncio.gather(*pulls)
        # The single blob's 6 MB, and about as many of the popular one: by connection it would have
        # been twice as many.
        assert sent <= 15 * MB
