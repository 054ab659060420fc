"""The agent, whole: it starts, serves, shares, tells how it is, and stops without a trace."""

import asyncio
import json
import logging
import signal
import socket
import threading
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from prometheus_client import CollectorRegistry

from shoal.adapters.telemetry.metrics import Metrics
from shoal.agent import app as app_module
from shoal.agent.app import Agent, own_address, run
from shoal.agent.reload import Reload
from shoal.agent.settings import AgentSettings, LimitsSettings
from shoal.core.blob import KIB
from shoal.core.digest import Digest
from shoal.core.errors import SettingsError, StoreError
from shoal.testing.conformance_store import Sample
from shoal.testing.registry import EmbeddedRegistry
from unit.agent.driving import descriptors, until
from unit.ports import free_ports

pytestmark = pytest.mark.usefixtures("leaves_nothing")

LAYER = Sample(900 * KIB)


@dataclass(slots=True)
class Running:
    """An agent at an address of loopback, before a registry."""

    folder: Path
    registry: EmbeddedRegistry
    host: str = "127.0.0.1"
    address: str | None = None
    members: Sequence[str] = ()
    peer_port: int = 0
    more: dict[str, Any] = field(default_factory=dict)
    settings: AgentSettings = field(init=False)
    agent: Agent = field(init=False)
    file: AgentSettings = field(init=False)  # what reading the settings again gives
    stop: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        front, exporter = free_ports(2, host=self.host)
        self.settings = AgentSettings.model_validate(
            {
                "front": {"hosts": [self.host], "port": front},
                "peer": {
                    "hosts": [self.host],
                    "port": self.peer_port,
                    "address": self.address,
                    "plaintext": True,
                },
                "exporter": {"hosts": [self.host], "port": exporter},
                "store": {
                    "path": self.folder / self.host,
                    "quota_bytes": 64 * 1024 * KIB,
                    "reserve_bytes": 0,
                },
                "registries": [{"name": self.registry.address, "plain_http": True}],
                "membership": {"static": list(self.members)},
                "drain_timeout_s": 1.0,
            }
            | self.more
        )
        self.file = self.settings
        reload = Reload(self.settings, read=lambda: self.file)
        self.agent = Agent(self.settings, Metrics(CollectorRegistry()), reload=reload)

    async def reread(self, **sections: Any) -> None:
        """Let the file say something else in these sections, and have it read again."""
        values = self.file.model_dump(mode="json") | sections
        self.file = AgentSettings.model_validate(values)
        self.agent.reload.request()
        await until(lambda: self.agent.settings == self.file)
        # The thread that read it would be taken for one that was left.
        await asyncio.get_running_loop().shutdown_default_executor()

    async def get(self, path: str, *, port: int | None = None) -> tuple[int, bytes]:
        """GET from the front, or from `port`."""
        at = f"http://{self.host}:{self.settings.front.port if port is None else port}{path}"
        timeout = aiohttp.ClientTimeout(60)
        headers = {"Host": f"127.0.0.1:{self.settings.front.port}"} if port is None else {}
        async with (
            aiohttp.ClientSession(timeout=timeout) as session,
            session.get(at, headers=headers) as response,
        ):
            return response.status, await response.read()

    async def pull(self, digest: Digest) -> bytes:
        """Return a blob, as a runtime asks for it: its manifest first."""
        ns = f"?ns={self.registry.address}"
        status, _ = await self.get(f"/v2/team/app/manifests/v1{ns}")
        assert status == 200
        status, body = await self.get(f"/v2/team/app/blobs/{digest}{ns}")
        assert status == 200
        return body

    async def ready(self) -> tuple[int, dict[str, Any]]:
        """Return what the exporter says of the agent's health."""
        status, body = await self.get("/readyz", port=self.settings.exporter.port)
        return status, json.loads(body)


@asynccontextmanager
async def running(made: Running, *, members: bool = True) -> AsyncIterator[Running]:
    """Run an agent until the end of the block, which begins when its `members` are known."""
    task = asyncio.ensure_future(made.agent.run(stop=made.stop))
    try:
        await until(lambda: made.agent.front_answers or task.done(), timeout_s=60.0)
        assert not task.done(), task.exception()
        await until(lambda: made.agent.members_known or not members)
        yield made
    finally:
        made.stop.set()
        await asyncio.wait([task], timeout=60.0)
    assert task.done()
    assert task.exception() is None


@pytest.fixture
async def registry(leaves_nothing: None) -> AsyncIterator[EmbeddedRegistry]:
    async with EmbeddedRegistry() as made:
        made.content.add_image("team/app", "v1", [LAYER.content])
        yield made


async def test_an_agent_serves_a_registrys_blobs_and_says_that_it_is_well(
    tmp_path: Path, registry: EmbeddedRegistry
) -> None:
    async with running(Running(tmp_path, registry)) as it:
        assert await it.pull(LAYER.digest) == LAYER.content
        status, health = await it.ready()
        assert (status, health["status"]) == (200, "ready")
        await until(lambda: LAYER.digest in dict(it.agent.disk.digests()))
        assert await it.pull(LAYER.digest) == LAYER.content
        assert registry.counters.blob_body_bytes[str(LAYER.digest)] == len(LAYER.content)
        status, page = await it.get("/metrics", port=it.settings.exporter.port)
        assert status == 200
        assert b"shoal_members 1.0" in page
        shown = it.agent.metrics.registry.get_sample_value
        await until(lambda: shown("shoal_store_blobs") == 3)  # with the manifest
        fetched = len(LAYER.content) + len(b"{}")  # the configuration too, ahead of being asked
        assert shown("shoal_origin_bytes_total", {"kind": "blob"}) == fetched
        assert shown("shoal_store_quota_bytes") == 64 * 1024 * KIB
        _, page = await it.get("/debug", port=it.settings.exporter.port)
        assert b"Transfers" in page
        assert b"Members" in page


async def test_a_node_is_ready_once_the_name_of_its_agents_was_looked_up(
    tmp_path: Path, registry: EmbeddedRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on = threading.Event()

    def look_up(_host: str) -> frozenset[str]:
        assert go_on.wait(30.0)
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr("shoal.adapters.discovery.resolving._addresses", look_up)
    monkeypatch.setattr(app_module, "MEMBERS_PATIENCE_S", 60.0)
    by_name = {"membership": {"static": [], "dns": "agents.example", "dns_timeout_s": 60.0}}
    async with running(
        Running(tmp_path, registry, address="127.0.0.1", more=by_name), members=False
    ) as it:
        status, health = await it.ready()
        assert status == 503
        assert health["checks"]["membership"] == "the members are not known yet"
        go_on.set()  # there is no such name yet: so the node is the first
        await until(lambda: it.agent.members_known)
        assert (await it.ready())[0] == 200


async def test_a_node_is_ready_also_if_no_name_server_answers(
    tmp_path: Path, registry: EmbeddedRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    def look_up(_host: str) -> frozenset[str]:
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    monkeypatch.setattr("shoal.adapters.discovery.resolving._addresses", look_up)
    monkeypatch.setattr(app_module, "MEMBERS_PATIENCE_S", 0.5)
    by_name = {"membership": {"static": [], "dns": "agents.example"}}
    async with running(Running(tmp_path, registry, address="127.0.0.1", more=by_name)) as it:
        assert (await it.ready())[0] == 200
        assert await it.pull(LAYER.digest) == LAYER.content


async def test_what_arrives_is_shown_while_it_does(
    tmp_path: Path, registry: EmbeddedRegistry
) -> None:
    from shoal.testing.registry_faults import Stall

    registry.fail(Stall(after_bytes=1000), route="blobs")
    async with running(Running(tmp_path, registry, more={"drain_timeout_s": 0.1})) as it:
        pulling = asyncio.ensure_future(it.pull(LAYER.digest))
        await until(lambda: registry.counters.requests["GET blobs"] >= 2)
        _, page = await it.get("/debug", port=it.settings.exporter.port)
        assert str(LAYER.digest)[:19].encode() in page
        _, page = await it.get("/metrics", port=it.settings.exporter.port)
        assert b"shoal_transfers_active 0.0" not in page
        it.stop.set()  # in the middle of a pull: it is cut after the drain
        with pytest.raises((aiohttp.ClientError, AssertionError)):
            await pulling


async def test_a_restart_finds_what_was_stored_and_offers_it(
    tmp_path: Path, registry: EmbeddedRegistry
) -> None:
    async with running(Running(tmp_path, registry)) as it:
        assert await it.pull(LAYER.digest) == LAYER.content
    again = Running(tmp_path, registry)
    assert LAYER.digest in {spec.digest for spec in again.agent.known}
    registry.counters.clear()
    async with running(again) as it:
        assert await it.pull(LAYER.digest) == LAYER.content
        assert registry.counters.total_blob_body_bytes == 0


async def test_two_agents_share_what_the_registry_sends_once(
    tmp_path: Path, registry: EmbeddedRegistry
) -> None:
    hosts = ("127.0.0.2", "127.0.0.3")
    (port,) = free_ports(1, host=hosts[0])
    members = [f"{host}:{port}" for host in hosts]
    made = [
        Running(tmp_path, registry, host=host, address=host, members=members, peer_port=port)
        for host in hosts
    ]
    async with running(made[0]) as one, running(made[1]) as other:
        await until(lambda: _peers(one) == _peers(other) == 1)
        pulled = await asyncio.gather(one.pull(LAYER.digest), other.pull(LAYER.digest))
        assert set(pulled) == {LAYER.content}
        assert registry.counters.blob_body_bytes[str(LAYER.digest)] == len(LAYER.content)
        _, page = await other.get("/metrics", port=other.settings.exporter.port)
        assert b"shoal_members 2.0" in page


def _peers(it: Running) -> float | None:
    return it.agent.metrics.registry.get_sample_value("shoal_peers_connected")


async def test_what_containerd_keeps_is_served_and_not_fetched(
    tmp_path: Path, registry: EmbeddedRegistry
) -> None:
    blobs = tmp_path / "content" / "blobs"
    (blobs / "sha256").mkdir(parents=True)
    (blobs / "sha256" / LAYER.digest.hex).write_bytes(LAYER.content)
    more = {"containerd": {"content_dir": blobs}}
    async with running(Running(tmp_path, registry, more=more)) as it:
        assert await it.pull(LAYER.digest) == LAYER.content
        assert registry.counters.blob_body_bytes[str(LAYER.digest)] == 0
        assert it.agent.known == [], "no pull of it was recorded, so it is not offered"


async def test_an_agent_without_registries_is_alive_and_not_ready(
    tmp_path: Path, registry: EmbeddedRegistry
) -> None:
    async with running(Running(tmp_path, registry, more={"registries": []})) as it:
        status, health = await it.ready()
        assert status == 503
        assert health["checks"] == {
            "front": "ok",
            "membership": "ok",
            "registries": "no registry is configured",
        }
        status, _ = await it.get("/livez", port=it.settings.exporter.port)
        assert status == 200


@pytest.mark.parametrize("part", ["front", "peer", "exporter"])
async def test_a_port_in_use_is_named_and_nothing_is_left_open(
    tmp_path: Path, registry: EmbeddedRegistry, part: str
) -> None:
    before = descriptors()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        section = {"hosts": ["127.0.0.1"], "port": port}
        it = Running(tmp_path, registry, more={part: section})
        with pytest.raises(SettingsError, match=f"{port}: the port is in use .* set {part}.port"):
            await it.agent.run(stop=it.stop)
    assert descriptors() == before


async def test_an_address_that_cannot_be_told_is_an_error_and_nothing_is_left_open(
    tmp_path: Path, registry: EmbeddedRegistry
) -> None:
    with pytest.raises(SettingsError, match=r"peer\.address: set it"):
        Running(tmp_path, registry, members=["192.0.2.1:1"])


async def test_a_folder_that_another_agent_uses_is_refused(
    tmp_path: Path, registry: EmbeddedRegistry
) -> None:
    async with running(Running(tmp_path, registry)):
        with pytest.raises(StoreError):
            Running(tmp_path, registry)


async def test_periodic_work_that_fails_once_goes_on(
    tmp_path: Path,
    registry: EmbeddedRegistry,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(app_module, "SWEEP_INTERVAL_S", 0.01)
    swept: list[None] = []

    def sweep(_: object) -> None:
        swept.append(None)
        if len(swept) == 1:
            raise ValueError("once")

    monkeypatch.setattr("shoal.agent.transfers.TransferManager.sweep", sweep)
    async with running(Running(tmp_path, registry)):
        await until(lambda: len(swept) >= 3)
    assert [record for record in caplog.records if record.exc_info] != []


# --- settings that change ------------------------------------------------------------------------


async def test_registries_that_are_added_and_removed_are_served_and_refused_at_once(
    tmp_path: Path, registry: EmbeddedRegistry
) -> None:
    async with EmbeddedRegistry() as other, running(Running(tmp_path, registry)) as it:
        other.content.add_image("team/app", "v1", [LAYER.content])
        path = f"/v2/team/app/manifests/v1?ns={other.address}"
        status, _ = await it.get(path)
        assert status == 404
        await it.reread(registries=[{"name": other.address, "plain_http": True}])
        status, _ = await it.get(path)
        assert status == 200
        status, _ = await it.get(f"/v2/team/app/manifests/v1?ns={registry.address}")
        assert status == 404


async def test_members_rates_and_the_log_level_change_while_the_agent_runs(
    tmp_path: Path, registry: EmbeddedRegistry
) -> None:
    root = logging.getLogger()
    level = root.level
    try:
        (port,) = free_ports(1)
        async with running(Running(tmp_path, registry, peer_port=port)) as it:
            await it.reread(
                membership={"static": ["127.0.0.77:1"]},
                limits={"registry_bytes_per_s": "100MB/s"},
                log={"level": "error"},
            )
            assert root.level == logging.ERROR
            _, page = await it.get("/metrics", port=it.settings.exporter.port)
            assert b"shoal_members 2.0" in page
            assert b"shoal_limit_registry_bytes_per_second 1e+08" in page
            assert b"shoal_config_last_reload_successful 1.0" in page
            assert await it.pull(LAYER.digest) == LAYER.content
    finally:
        root.setLevel(level)


# --- until a signal -------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_ends_it_in_order(
    tmp_path: Path,
    registry: EmbeddedRegistry,
    number: signal.Signals,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    agents: list[Agent] = []

    class Known(Agent):
        def __init__(
            self, settings: AgentSettings, metrics: Metrics, *, reload: Reload | None = None
        ) -> None:
            super().__init__(settings, metrics, reload=reload)
            agents.append(self)

    monkeypatch.setattr(app_module, "Agent", Known)
    front, exporter = free_ports(2)
    settings = AgentSettings.model_validate(
        {
            "front": {"hosts": ["127.0.0.1"], "port": front},
            "peer": {"hosts": ["127.0.0.1"], "port": 0},
            "exporter": {"hosts": ["127.0.0.1"], "port": exporter},
            "store": {"path": tmp_path / "store", "quota_bytes": 10**6, "reserve_bytes": 0},
            "registries": [{"name": registry.address, "plain_http": True}],
        }
    )
    beats: list[None] = []
    read = settings.model_copy(update={"limits": LimitsSettings(peer_connections=5)})
    task = asyncio.ensure_future(
        run(settings, heartbeat=lambda: beats.append(None), read=lambda: read)
    )
    loop = asyncio.get_running_loop()
    try:
        await until(lambda: bool(agents and agents[0].front_answers) or task.done())
        assert not task.done()
        signal.raise_signal(signal.SIGHUP)
        await until(lambda: agents[0].settings == read)
        await until(lambda: bool(beats))
        assert not task.done()
        signal.raise_signal(number)
        async with asyncio.timeout(60.0):
            assert await task == 0
    finally:
        task.cancel()
        await loop.shutdown_default_executor()  # as asyncio.run does
        for handled in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            loop.remove_signal_handler(handled)


# --- by which address -----------------------------------------------------------------------------


def _settings(port: int = 65002, **more: object) -> AgentSettings:
    peer = {"port": port, "plaintext": True, **more.pop("peer", {})}  # type: ignore[dict-item]
    return AgentSettings.model_validate({"peer": peer, **more})


@pytest.mark.parametrize(
    ("more", "address"),
    [
        ({}, "127.0.0.1"),  # alone
        ({"peer": {"address": "10.9.8.7"}}, "10.9.8.7"),
        ({"membership": {"static": ["192.0.2.1", "127.0.0.5", "node-7"]}}, "127.0.0.5"),
        ({"membership": {"static": ["192.0.2.1", "[::1]"]}}, "::1"),
        ({"membership": {"static": ["127.0.0.5", "127.0.0.5:65002"]}}, "127.0.0.5"),
        # Another port is another agent on this machine.
        ({"membership": {"static": ["127.0.0.5:1", "127.0.0.6"]}}, "127.0.0.6"),
    ],
)
def test_a_node_knows_its_own_address(more: dict[str, Any], address: str) -> None:
    assert own_address(_settings(**more)) == address


@pytest.mark.parametrize(
    ("membership", "count"),
    [
        ({"static": ["192.0.2.1"]}, 0),
        ({"static": ["node-7"]}, 0),
        ({"static": ["127.0.0.5:1"]}, 0),
        ({"static": ["127.0.0.5", "127.0.0.6"]}, 2),
        ({"dns": "peers.example"}, 0),
    ],
)
def test_an_address_that_cannot_be_told_is_an_error_that_says_what_to_set(
    membership: dict[str, Any], count: int
) -> None:
    with pytest.raises(SettingsError, match=f"^peer.address: .*: {count} entries of membership"):
        own_address(_settings(membership=membership))
