"""Who the members are, from a list, DNS or Kubernetes, while the settings of each may change."""

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

from shoal.adapters.discovery.base import Discovery
from shoal.adapters.discovery.dns import DnsDiscovery
from shoal.adapters.discovery.kubernetes import KubernetesDiscovery
from shoal.adapters.discovery.node_sites import NodeSites
from shoal.adapters.discovery.static import StaticDiscovery
from shoal.adapters.kube.api import KubeAccess, in_cluster_server
from shoal.agent.settings import AgentSettings, KubernetesSettings
from shoal.agent.tasks import Tasks
from shoal.core.peer import PeerId

if TYPE_CHECKING:
    import asyncio

_log = logging.getLogger("shoal.agent")

MembersChanged = Callable[[frozenset[PeerId]], None]


class Members:
    """Watches the sources that the settings name, and tells their union.

    A source whose settings change is watched anew; what it told before counts until it, or the
    source in its place, tells something, so that a change never empties the site for a moment.
    """

    def __init__(self, changed: MembersChanged) -> None:
        """Prepare; `apply` begins.

        Args:
            changed: called in the event loop with all members, at first and after each change.
        """
        self._changed = changed
        self._tasks = Tasks()
        self._watches: dict[str, asyncio.Task[None]] = {}
        self._watched: dict[str, object] = {}  # source -> the settings it was made from
        self._told: dict[str, frozenset[PeerId]] = {}
        self._last: frozenset[PeerId] | None = None

    def apply(self, settings: AgentSettings) -> None:
        """Watch what `settings` name from now on.

        Raises:
            SettingsError: `check` says so, and nothing has changed.
        """
        membership = settings.membership
        times = (membership.dns_refresh_s, membership.dns_timeout_s)
        listed, name = settings.static_members, membership.dns
        kubernetes = membership.kubernetes
        sources: dict[str, tuple[object, Callable[[], Discovery]]] = {}
        if kubernetes is not None:
            port, is_ipv6 = settings.peer.port, ":" in (settings.peer.address or "")
            access = _access(kubernetes)
            file, node = membership.sites_file, membership.node
            sources["kubernetes"] = (
                (kubernetes, access, port, is_ipv6, file, node),
                lambda: KubernetesDiscovery(
                    access,
                    namespace=kubernetes.namespace,
                    service=kubernetes.service,
                    port=port,
                    prefers_ipv6=is_ipv6,
                    sites=NodeSites(file, node=node) if file and node else None,
                    sites_config_map=kubernetes.sites_config_map,
                ),
            )
        # An empty list beside a name says nothing: the members are known with the first answer.
        elif listed or name is None:
            sources["static"] = (
                (listed, times),
                lambda: StaticDiscovery(
                    listed, refresh_s=membership.dns_refresh_s, timeout_s=membership.dns_timeout_s
                ),
            )
        if name is not None:
            sources["dns"] = (
                (name, settings.peer.port, times),
                lambda: DnsDiscovery(
                    name,
                    port=settings.peer.port,
                    refresh_s=membership.dns_refresh_s,
                    timeout_s=membership.dns_timeout_s,
                ),
            )
        for source in self._watches.keys() - sources.keys():
            self._watches.pop(source).cancel()
            del self._watched[source]
        for source, (made_from, make) in sources.items():
            self._watch(source, made_from, make)
        self._tell()

    @staticmethod
    def check(settings: AgentSettings) -> None:
        """Refuse settings that do not fit where this runs.

        Raises:
            SettingsError: the API server's address is to come from the pod, and this is none.
        """
        if settings.membership.kubernetes is not None:
            _access(settings.membership.kubernetes)

    async def stop(self) -> None:
        """Watch nothing any more."""
        await self._tasks.end()

    def _watch(self, source: str, settings: object, make: Callable[[], Discovery]) -> None:
        if self._watched.get(source) == settings:
            return
        self._watched[source] = settings
        if (before := self._watches.pop(source, None)) is not None:
            before.cancel()  # and it runs no more: what it would tell is not heard

        def told(members: frozenset[PeerId]) -> None:
            self._told[source] = members
            self._tell()

        work = make().watch(told)
        self._watches[source] = self._tasks.start(work, name=f"membership {source}")

    def _tell(self) -> None:
        if any(source in self._told for source in self._watches):
            for gone in self._told.keys() - self._watches.keys():
                del self._told[gone]
        if not self._told:
            return
        members = frozenset[PeerId]().union(*self._told.values())
        if members != self._last:
            self._last = members
            _log.info("members_changed", extra={"members": len(members)})
            self._changed(members)


def _access(settings: KubernetesSettings) -> KubeAccess:
    return KubeAccess(settings.server or in_cluster_server(), settings.account_dir)
