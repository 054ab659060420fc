"""The composition root: the only place that knows every part of the agent.

Parts are made from the outside in (store, registry client, swarm, front), started so that the
front answers last, and stopped in the opposite order.
"""

import asyncio
import logging
import signal
import socket
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry

from shoal import __version__
from shoal.adapters.origin.client import OriginClient
from shoal.adapters.origin.config import RegistryConfig
from shoal.adapters.origin.known import KnownRegistries
from shoal.adapters.peers.handshake import ALPN
from shoal.adapters.store.containerd_content import ContainerdContent
from shoal.adapters.store.disk import DiskStore
from shoal.adapters.store.scrub import Scrubber
from shoal.adapters.store.with_containerd import WithContainerd
from shoal.adapters.telemetry.front_meter import FrontMeter
from shoal.adapters.telemetry.logs import set_level
from shoal.adapters.telemetry.metrics import Levels, Metrics
from shoal.agent.debug_page import Table
from shoal.agent.exporter import Exporter
from shoal.agent.front.credential_key import load_or_make_key
from shoal.agent.front.limits import FrontLimits
from shoal.agent.front.listening import listen
from shoal.agent.front.memory import Memory
from shoal.agent.front.memory_file import load
from shoal.agent.front.memory_keeper import MemoryKeeper
from shoal.agent.front.node_header import FILE_NAME, write_node_header
from shoal.agent.front.server import Front
from shoal.agent.front.target import ServedRegistry
from shoal.agent.health import Health, health_routes
from shoal.agent.holdings import Holdings
from shoal.agent.limits import Limits, RegistryPace
from shoal.agent.members import Members
from shoal.agent.node import Node
from shoal.agent.peer_certificates import CertificateWatch, load_credentials
from shoal.agent.pulse import pulse
from shoal.agent.reload import Reload
from shoal.agent.scrubbing import scrub_regularly
from shoal.agent.settings import AgentSettings, RegistrySettings
from shoal.agent.tasks import Tasks
from shoal.agent.traced_swarm import traced_swarm
from shoal.agent.transfers import TransferManager
from shoal.agent.trimming import Trimmer
from shoal.agent.workers import Workers
from shoal.core.endpoint import Endpoint
from shoal.core.errors import SettingsError
from shoal.core.peer import PeerId
from shoal.core.swarm import events as on
from shoal.core.swarm.policy import DEFAULT

if TYPE_CHECKING:
    from pathlib import Path

    from shoal.adapters.store.base import Store

_log = logging.getLogger("shoal.agent")

# Hashing and the disk: more threads than cores, since some wait for the disk.
WORKER_THREADS = 4
SWEEP_INTERVAL_S = 1.0
FORGET_INTERVAL_S = 5.0
FIRST_SCRUB_S = 60.0  # what a node that has just started is asked for comes first
# A node whose sources of members do not answer serves its own pulls all the same.
MEMBERS_PATIENCE_S = 5.0


class Agent:
    """Every part of one agent, joined."""

    def __init__(
        self, settings: AgentSettings, metrics: Metrics, *, reload: Reload | None = None
    ) -> None:
        """Make the parts; blocks on the disk, and nothing listens yet.

        Args:
            settings: as read at the start.
            metrics: where the parts count.
            reload: reads the settings again when it is asked to; without it they stay.

        Raises:
            SettingsError: the settings do not fit this machine.
            StoreError: the store's folder cannot be used.
        """
        self.reload = reload or Reload(settings, read=lambda: settings)
        self.metrics = metrics
        self.me = PeerId(str(Endpoint(own_address(settings), settings.peer.port)))
        self.credentials = load_credentials(settings.peer, me=self.me, alpn=(ALPN,))
        self.disk = DiskStore(
            settings.store.path,
            quota_bytes=settings.store.quota_bytes,
            reserve_bytes=settings.store.reserve_bytes,
        )
        self.store: Store = self.disk
        if settings.containerd.content_dir is not None:
            content = ContainerdContent(settings.containerd.content_dir)
            self.store = WithContainerd(self.disk, content)
        self.key = load_or_make_key(settings.store.path / "credential.key")
        write_node_header(settings.store.path / FILE_NAME, self.key)
        self.memory = Memory.lasting(
            trusted_for_s=settings.access.ttl_s, grace_s=settings.access.outage_grace_s
        )
        load(settings.store.path / "access.json", self.memory)
        self.holdings = Holdings(self.store, settings.store.path / "pulls.jsonl")
        self.known = self.holdings.load()
        self.members_known = False
        self.front_answers = False
        self.front_questions: Callable[[], int] = int  # 0 until there is a front
        self.scrubber: Scrubber | None = None
        self.tasks = Tasks()

    @property
    def settings(self) -> AgentSettings:
        """The settings in force."""
        return self.reload.settings

    async def run(self, *, stop: asyncio.Event) -> None:
        """Run until `stop` is set, then drain.

        Raises:
            SettingsError: a port is in use, or no address of this node can be told.
        """
        settings = self.settings
        async with AsyncExitStack() as stack:
            stack.callback(self.store.close)
            workers = Workers(WORKER_THREADS)
            stack.callback(workers.stop)
            stack.callback(self.holdings.close)
            limits = Limits()
            stack.callback(limits.stop)
            limits.apply(settings.limits)
            origin = await stack.enter_async_context(
                OriginClient(_registry_configs(settings), pace=RegistryPace(limits))
            )
            me = self.me
            listeners = listen(settings.peer.hosts, port=settings.peer.port, setting="peer")
            transfers = TransferManager(
                store=self.store,
                holdings=self.holdings,
                workers=workers,
                metrics=self.metrics,
                most=settings.swarm.max_transfers,
            )
            policy = replace(
                DEFAULT,
                neighbours=settings.swarm.neighbours,
                neighbours_most=2 * settings.swarm.neighbours,
                registry_fetches=settings.swarm.registry_fetches,
                released_s=settings.swarm.linger_s,
            )
            trace = settings.swarm.trace_dir
            node = Node(
                me=me,
                origin=origin,
                holdings=self.holdings,
                workers=workers,
                metrics=self.metrics,
                on_give_up=transfers.gave_up,
                policy=policy,
                limits=limits,
                credentials=self.credentials,
                swarm=None
                if trace is None
                else stack.enter_context(traced_swarm(trace, me=me, policy=policy)),
            )
            transfers.attach(node)
            self.metrics.read_levels_from(lambda: self._levels(node))
            node.start(listeners)
            stack.push_async_callback(node.stop)
            stack.push_async_callback(transfers.stop)
            for spec in self.known:
                node.tell(on.BlobStored(spec))

            def status() -> Health:
                return self._health()

            exporter = Exporter(
                settings.exporter,
                registry=self.metrics.registry,
                status=status,
                tables=lambda: self._tables(node),
            )
            await exporter.start()
            stack.push_async_callback(exporter.stop)

            def members_changed(members: frozenset[PeerId]) -> None:
                self.members_known = True
                node.tell(on.MembersChanged(members))

            members = Members(members_changed)
            members.apply(settings)
            stack.push_async_callback(members.stop)
            if settings.store.scrub_bytes_per_s:
                self.scrubber = Scrubber(
                    self.disk,
                    rate_bytes_per_s=settings.store.scrub_bytes_per_s,
                    is_busy=lambda: bool(node.transfers),
                )
                scrubbing = scrub_regularly(
                    self.scrubber,
                    first_after_s=FIRST_SCRUB_S,
                    interval_s=settings.store.scrub_interval_s,
                )
                self.tasks.start(scrubbing, name="scrub")
            if self.credentials is not None:
                self.credentials.when_changed(node.network.credentials_changed)
                watch = CertificateWatch(
                    self.credentials,
                    me=me,
                    count=lambda result: self.metrics.peer_certificate_reloads.labels(result).inc(),
                )
                self.tasks.start(watch.run(), name="certificates")
            self.tasks.start(self._members_in_time(), name="membership patience")
            self.tasks.start(_every(SWEEP_INTERVAL_S, transfers.sweep), name="sweep")
            trimmer = Trimmer(
                workers,
                clock_s=asyncio.get_running_loop().time,
                is_busy=lambda: bool(node.transfers),
                drop_spare=node.drop_spare,
            )
            self.tasks.start(_every(SWEEP_INTERVAL_S, trimmer.look), name="trim")
            forgetting = _every(FORGET_INTERVAL_S, node.forget_evicted)
            self.tasks.start(forgetting, name="evicted blobs")
            keeper = MemoryKeeper(settings.store.path / "access.json", self.memory, workers=workers)
            stack.push_async_callback(keeper.save)
            self.tasks.start(keeper.run(), name="access memory")
            stack.push_async_callback(self.tasks.end)
            front = Front(
                settings.front,
                _served(settings),
                origin,
                transfers,
                memory=self.memory,
                credential_key=self.key,
                sources=transfers.sources,
                health=health_routes(status),
                metrics=FrontMeter(self.metrics),
                limits=FrontLimits(connections=settings.limits.client_connections),
            )
            await front.start()
            self.front_answers = True
            self.front_questions = lambda: front.questions
            self._change_on_reload(origin, front, members, node, limits)
            self.tasks.start(self.reload.run(), name="reload")
            _log.info("agent_ready", extra={"peer": me, "version": __version__})
            await stop.wait()
            self.front_answers = False
            _log.info("agent_draining", extra={"timeout_s": settings.drain_timeout_s})
            await front.stop(drain_timeout_s=settings.drain_timeout_s)
        _log.info("agent_stopped")

    def _change_on_reload(
        self, origin: OriginClient, front: Front, members: Members, node: Node, limits: Limits
    ) -> None:
        """Say how the settings that can change while the agent runs do so."""

        def registries(settings: AgentSettings) -> Callable[[], None]:
            known, served = KnownRegistries(_registry_configs(settings)), _served(settings)

            def use() -> None:
                origin.know(known)
                front.serve(served)

            return use

        def limited(settings: AgentSettings) -> Callable[[], None]:
            def use() -> None:
                limits.apply(settings.limits)
                node.limits_changed()
                front.limit_connections(settings.limits.client_connections)

            return use

        def membership(settings: AgentSettings) -> Callable[[], None]:
            members.check(settings)
            return partial(members.apply, settings)

        part = self.reload.part
        part("registries", prepare=registries)
        part("limits", prepare=limited)
        part("membership", prepare=membership)
        part("log", prepare=lambda settings: partial(set_level, settings.log.level))

    async def _members_in_time(self) -> None:
        """Be ready without members, if nobody says in time who they are."""
        await asyncio.sleep(MEMBERS_PATIENCE_S)
        if not self.members_known:
            _log.warning("members_not_known", extra={"after_s": MEMBERS_PATIENCE_S})
            self.members_known = True

    def _health(self) -> Health:
        return Health(
            {
                "front": None if self.front_answers else "the front does not answer requests",
                "membership": None if self.members_known else "the members are not known yet",
                "registries": None if self.settings.registries else "no registry is configured",
            }
        )

    def _levels(self, node: Node) -> Levels:
        swarm = node.swarm
        return Levels(
            transfers_active=len(node.transfers),
            leases_held=sum(
                run.count for e in swarm.exchanges.values() for run in e.runs.values() if run.leased
            ),
            leases_granted=swarm.tracker.granted,
            leases_lapsed=swarm.tracker.lapsed,
            pieces_doubted=swarm.tracker.doubted,
            peers_connected=node.network.links,
            peer_certificate_expiry_timestamp_seconds=(
                self.credentials.identity.not_after_s if self.credentials is not None else 0
            ),
            members=len(swarm.site.members),
            access_grants=len(self.memory.access),
            access_tokens=len(self.memory.sessions),
            front_questions=self.front_questions(),
            store_used_bytes=self.store.used_bytes(),
            store_quota_bytes=self.settings.store.quota_bytes,
            store_blobs=sum(1 for _ in self.disk.digests()),
            store_blobs_dropped=self.disk.dropped,
            store_scrubbed_bytes=self.scrubber.read_bytes if self.scrubber is not None else 0,
            peers_refused=node.network.refused,
            peer_connections_limit=self.settings.limits.peer_connections,
            limit_upload_bytes_per_second=self.settings.limits.upload_bytes_per_s or 0,
            limit_download_bytes_per_second=self.settings.limits.download_bytes_per_s or 0,
            limit_registry_bytes_per_second=self.settings.limits.registry_bytes_per_s or 0,
            config_last_reload_successful=self.reload.successful,
            config_last_reload_success_timestamp_seconds=self.reload.succeeded_at,
        )

    def _tables(self, node: Node) -> Sequence[Table]:
        transfers = [
            (
                str(transfer.spec.digest)[:19],
                transfer.spec.length_bytes,
                f"{transfer.held.bit_count()} / {transfer.spec.pieces}",
                len(transfer.readers),
                transfer.sources.origin_bytes,
                transfer.sources.peer_bytes,
            )
            for transfer in node.transfers.values()
        ]
        exchanges = [
            (
                str(exchange.spec.digest)[:19],
                exchange.tracker or "",
                len(exchange.neighbours),
                exchange.requests,
                len(exchange.runs),
                "yes" if exchange.wanted else "no",
            )
            for exchange in node.swarm.exchanges.values()
        ]
        return [
            Table(
                "Transfers",
                ("blob", "bytes", "pieces", "readers", "from the registry", "from peers"),
                transfers,
            ),
            Table(
                "Exchanges",
                ("blob", "tracker", "neighbours", "requests", "registry runs", "wanted"),
                exchanges,
            ),
            Table("Members", ("peer",), [(peer,) for peer in sorted(node.swarm.site.members)]),
        ]


async def run(
    settings: AgentSettings,
    *,
    heartbeat: Callable[[], None] | None = None,
    read: Callable[[], AgentSettings] | None = None,
    file: "Path | None" = None,
) -> int:
    """Run an agent until SIGTERM or SIGINT; return its exit code.

    Args:
        settings: as read at the start.
        heartbeat: called as long as the event loop turns.
        read: reads the settings again, on SIGHUP; see `Reload`. None: they stay as they are.
        file: what `read` reads, and `reload_interval_s` looks at.

    Raises:
        SettingsError, StoreError: it cannot start; the message says what to change.
    """
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    reload = Reload(settings, read=read or (lambda: settings), file=file)
    loop.add_signal_handler(signal.SIGHUP, reload.request)
    # One that came while the process was starting waits: it is delivered now.
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGHUP})
    # Before anything that may take long, and until everything has ended: the supervisor listens.
    tasks = Tasks()
    metrics = Metrics(CollectorRegistry(), version=__version__)
    lag = metrics.event_loop_lag_seconds.observe
    tasks.start(pulse(heartbeat=heartbeat, lag=lag), name="pulse")
    try:
        agent = await asyncio.to_thread(Agent, settings, metrics, reload=reload)
        await agent.run(stop=stop)
    finally:
        await tasks.end()
    return 0


def own_address(settings: AgentSettings) -> str:
    """Return the address by which this node's peers know it.

    Raises:
        SettingsError: it is not given, and not exactly one member is an address of this machine.
    """
    if settings.peer.address is not None:
        return str(settings.peer.address)
    members = settings.static_members
    own = {
        member.host
        for member in members
        if member.is_address and member.port == settings.peer.port and _is_local(member.host)
    }
    if len(own) == 1:
        return own.pop()
    if not members and settings.membership.dns is None:
        return "127.0.0.1"  # a node alone: nobody asks for its name
    raise SettingsError(
        "peer.address: set it to this node's address as its peers know it: "
        f"{len(own)} entries of membership.static are addresses of this machine"
    )


def _is_local(host: str) -> bool:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((host, 0))
        except OSError:
            return False
    return True


def _served(settings: AgentSettings) -> list[ServedRegistry]:
    return [ServedRegistry.of(registry) for registry in settings.registries]


def _registry_configs(settings: AgentSettings) -> list[RegistryConfig]:
    return [_registry_config(registry) for registry in settings.registries]


def _registry_config(registry: RegistrySettings) -> RegistryConfig:
    return RegistryConfig(
        name=registry.name,
        url=registry.base_url,
        plain_http=registry.plain_http,
        ca_file=registry.ca_file,
        aliases=tuple(registry.aliases),
        redirect_hosts=tuple(registry.redirect_hosts),
        realm_hosts=tuple(registry.realm_hosts),
        allow_private_redirects=registry.allow_private_redirects,
    )


async def _every(interval_s: float, work: Callable[[], Awaitable[None] | None]) -> None:
    while True:
        await asyncio.sleep(interval_s)
        try:
            if (going_on := work()) is not None:
                await going_on
        except Exception:
            _log.exception("periodic_work_failed")  # a bug; the next round may do better
