"""The controller: keeps the agents' settings true, signs nodes' certificates, renews the webhook's.

Agents need it only when something changes: without it they go on with what they were last told,
and only new nodes wait. It keeps nothing of its own: whatever it does can be done again, by it or
by a second one.
"""

import asyncio
import logging
import ssl
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from prometheus_client import CollectorRegistry

from shoal.adapters.certificates.authority import Authority
from shoal.adapters.kube.api import KubeAccess, KubeConnection, KubeRefused, connected
from shoal.adapters.kube.reflector import Reflector, Waits
from shoal.core.errors import ShoalError
from shoal.setup.cluster.agent_settings import SETTINGS, agent_data
from shoal.setup.cluster.authority import (
    ServerCertificate,
    find_authority,
    is_due,
    server_certificate,
)
from shoal.setup.cluster.health import HEALTH_PORT, health, serving
from shoal.setup.cluster.installation import Installation
from shoal.setup.cluster.lookup import Registries, RegistryLookup
from shoal.setup.cluster.metrics import ControllerMetrics
from shoal.setup.cluster.node_pools import read_pools
from shoal.setup.cluster.node_service import NodeService
from shoal.setup.cluster.objects import NODES
from shoal.setup.cluster.pools import NodeSeen, Sites, decide, node_seen
from shoal.setup.cluster.upkeep import read_written, write
from shoal.setup.cluster.webhook_setup import set_up_webhook
from shoal.setup.names import CONTROLLER, CONTROLLER_PORT

_log = logging.getLogger("shoal.controller")
_GOODBYE_S = 10.0  # of the 30 that a pod has to end


@dataclass(frozen=True, slots=True, kw_only=True)
class Times:
    """How often what is looked at, in seconds."""

    look_s: float = 30.0
    """The console's switch and the node pools; also the longest that a wrong ConfigMap stays."""
    endpoints_s: float = 3600.0
    """The registries' endpoints."""
    settle_s: float = 1.0
    """After a change of nodes: a node that joins changes several times."""
    renew_s: float = 3600.0
    """Whether certificates are due."""
    authority_s: float = 2.0
    """Whether the Job has made the authority."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ControllerTools:
    """What the controller works with, so that tests can give it other things."""

    access: KubeAccess
    lookup: RegistryLookup
    check_settings: Callable[[str], None]
    """Raises SettingsError if a text is not settings that an agent takes."""
    host: str = "0.0.0.0"  # noqa: S104 - nodes ask from their own network
    port: int = CONTROLLER_PORT
    health_port: int = HEALTH_PORT
    times: Times = field(default_factory=Times)
    waits: Waits | None = None


class Nodes:
    """A mirror of all nodes, of each no more than its pool."""

    def __init__(self) -> None:
        """Know none; `is_known` says whether they were listed."""
        self.changed = asyncio.Event()
        self.is_known = False
        self.seen: dict[str, NodeSeen] = {}

    def replace(self, objects: Sequence[dict[str, Any]]) -> None:
        """Know these and no others."""
        self.seen = {node.name: node for node in map(node_seen, objects)}
        self.is_known = True
        self.changed.set()

    def put(self, thing: dict[str, Any]) -> None:
        """Know this node as it is now; most changes of a node are none of its pool."""
        node = node_seen(thing)
        if self.seen.get(node.name) != node:
            self.seen[node.name] = node
            self.changed.set()

    def drop(self, thing: dict[str, Any]) -> None:
        """Know this node no more."""
        if self.seen.pop(node_seen(thing).name, None) is not None:
            self.changed.set()


class Controller:
    """The process; `run` it."""

    def __init__(self, installation: Installation, tools: ControllerTools) -> None:
        """Know what to keep true."""
        self.metrics = ControllerMetrics(CollectorRegistry())
        self.port = 0
        self.health_port = 0
        self._installation = installation
        self._tools = tools
        self._nodes = Nodes()
        self._registries: Registries | None = None
        self._looked_up_s = 0.0
        self._remarks: tuple[str, ...] = ()
        self._not_ready = "the authority is not there yet: the set-up Job makes it"

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run while the block does; ready when it begins.

        Raises:
            SettingsError: a port is taken.
        """
        tools = self._tools
        async with (
            connected(tools.access, most=8) as kube,
            health(
                self.metrics.registry,
                not_ready=lambda: self._not_ready,
                host=tools.host,
                port=tools.health_port,
            ) as self.health_port,
        ):
            authority = await self._authority(kube)
            service = NodeService(
                kube, authority, namespace=self._installation.namespace, metrics=self.metrics
            )
            shown = _Shown(authority, self._installation.namespace)
            async with serving(
                service.app(), host=tools.host, port=tools.port, tls=shown.context
            ) as self.port:
                self._not_ready = ""
                work = (
                    Reflector(tools.access, NODES, metadata_only=True, waits=tools.waits).run(
                        self._nodes
                    ),
                    self._look_for_ever(kube, authority),
                    self._renew_for_ever(kube, authority, shown),
                )
                async with asyncio.TaskGroup() as group:
                    tasks = [group.create_task(one) for one in work]
                    yield
                    await self._say_goodbye(kube)
                    for task in tasks:
                        task.cancel()

    async def run(self, stop: asyncio.Event) -> None:
        """Run until `stop` is set.

        Raises:
            SettingsError: a port is taken.
        """
        async with self.running():
            await stop.wait()

    async def _say_goodbye(self, kube: KubeConnection) -> None:
        """Say that the component is gone, if this end is that of the release.

        An uninstall has deleted the ConfigMap before, and perhaps the right to look for it.
        """
        if self._registries is None:
            return
        try:
            async with asyncio.timeout(_GOODBYE_S):
                try:
                    is_gone = await read_written(kube, self._installation) is None
                except KubeRefused:
                    is_gone = True
                if is_gone:
                    await self._tools.lookup.uninstalled()
                    _log.info("uninstalled")
        except (ShoalError, TimeoutError) as exc:
            _log.warning("goodbye_failed", extra={"error": str(exc) or "no answer in time"})

    async def _authority(self, kube: KubeConnection) -> Authority:
        while True:
            try:
                found = await find_authority(kube, self._installation.namespace)
                if found is not None:
                    return found
            except ShoalError as exc:
                self._not_ready = str(exc)
                _log.warning("no_authority", extra={"error": str(exc)})
            await asyncio.sleep(self._tools.times.authority_s)

    async def _look_for_ever(self, kube: KubeConnection, authority: Authority) -> None:
        times = self._tools.times
        while True:
            try:
                written = await self._look(kube, authority)
            except ShoalError as exc:
                self.metrics.looks.labels("failed").inc()
                _log.warning("look_failed", extra={"error": str(exc)})
            else:
                if written is not None:
                    self.metrics.looks.labels("written" if written else "unchanged").inc()
                    self.metrics.last_look_timestamp_seconds.set(datetime.now(UTC).timestamp())
            try:
                async with asyncio.timeout(times.look_s):
                    await self._nodes.changed.wait()
                await asyncio.sleep(times.settle_s)
            except TimeoutError:
                pass
            self._nodes.changed.clear()

    async def _look(self, kube: KubeConnection, authority: Authority) -> bool | None:
        """Make the ConfigMap say what is so; None: not known yet."""
        if not self._nodes.is_known:
            return None
        installation = self._installation
        if await read_written(kube, installation) is None:
            # The Job checks what must be so before there are agents, and makes it. That it is gone
            # means that it is to be gone: an uninstall deletes it.
            return None
        registries = await self._looked_up()
        sites = decide(
            self._nodes.seen.values(),
            await read_pools(kube),
            only=installation.node_pool,
            all_nodes=installation.all_nodes,
        )
        if sites.refusal:
            # A pool that is gone, or was changed: its agents go on with what they have.
            raise ShoalError(f"node pools: {sites.refusal}")
        self._remark(sites, registries)
        data = agent_data(installation, registries, sites, authority=authority)
        self._tools.check_settings(data[SETTINGS])
        self.metrics.nodes.set(len(sites.by_node))
        written = await write(kube, installation, data, may_create=False)
        if written:
            _log.info("settings_written", extra={"nodes": len(sites.by_node)})
        return written

    async def _looked_up(self) -> Registries:
        """Return the registries: all of them now and then, the switch each time.

        What was known stays while it cannot be asked, so that an outage of the cloud changes
        nothing for agents.
        """
        now_s = asyncio.get_running_loop().time()
        lookup, known = self._tools.lookup, self._registries
        if known is None or now_s - self._looked_up_s >= self._tools.times.endpoints_s:
            try:
                found = await lookup.look_up()
                if found.refusal:
                    raise ShoalError(found.refusal)
            except ShoalError as exc:
                if known is None:
                    raise
                _log.warning("look_up_failed", extra={"error": str(exc)})
            else:
                self._registries = known = found
            self._looked_up_s = now_s
            return known
        try:
            may_share = await lookup.may_share()
        except ShoalError as exc:
            _log.warning("switch_unknown", extra={"error": str(exc)})
            return known
        if may_share != known.may_share:
            _log.info("switch_changed", extra={"may_share": may_share})
            self._registries = known = replace(known, may_share=may_share)
        return known

    def _remark(self, sites: Sites, registries: Registries) -> None:
        remarks = (*sites.remarks, *registries.remarks)
        for remark in remarks:
            if remark not in self._remarks:
                _log.warning("remark", extra={"remark": remark})
        self._remarks = remarks

    async def _renew_for_ever(
        self, kube: KubeConnection, authority: Authority, shown: "_Shown"
    ) -> None:
        while True:
            try:
                now = datetime.now(UTC)
                shown.renew(now)
                if self._installation.webhook and await set_up_webhook(
                    kube, self._installation, authority, now=now
                ):
                    _log.info("webhook_certificate_renewed")
            except ShoalError as exc:
                _log.warning("not_renewed", extra={"error": str(exc)})
            await asyncio.sleep(self._tools.times.renew_s)


class _Shown:
    """The certificate that the controller shows nodes, and how TLS has it."""

    def __init__(self, authority: Authority, namespace: str) -> None:
        self._authority = authority
        self._namespace = namespace
        self.context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self.context.minimum_version = ssl.TLSVersion.TLSv1_3
        self._certificate = self._make(datetime.now(UTC))
        self._certificate.load_into(self.context)

    def renew(self, now: datetime) -> None:
        """Make another if this one is due."""
        if is_due(self._certificate, now=now):
            self._certificate = self._make(now)
            self._certificate.load_into(self.context)
            _log.info("own_certificate_renewed")

    def _make(self, now: datetime) -> ServerCertificate:
        return server_certificate(self._authority, CONTROLLER, self._namespace, now=now)
