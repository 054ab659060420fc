"""Members from Kubernetes: the ready endpoints of one Service, by watching its EndpointSlices.

Where several sites share the Service, a file says which node is in which, and the ConfigMap that
the file comes from says so a minute earlier.
"""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from shoal.adapters.discovery.base import MembersChanged
from shoal.adapters.discovery.node_sites import NodeSites, WatchedSites
from shoal.adapters.discovery.resolving import MAX_ADDRESSES, is_member_address
from shoal.adapters.kube.api import KubeAccess
from shoal.adapters.kube.reflector import MAX_OBJECTS, Reflector, Waits
from shoal.core.endpoint import Endpoint, normal_host
from shoal.core.peer import PeerId

_log = logging.getLogger("shoal.discovery.kubernetes")

# Source: Kubernetes documentation, "EndpointSlices", ownership and labels.
SERVICE_LABEL = "kubernetes.io/service-name"
# Name of the peer API's port in the Service; a slice of one port only needs no name.
PORT_NAME = "peer"


class KubernetesDiscovery:
    """Watches the slices of one Service; who was last seen stays while the server is away."""

    def __init__(
        self,
        access: KubeAccess,
        *,
        namespace: str,
        service: str,
        port: int,
        prefers_ipv6: bool = False,
        sites: NodeSites | None = None,
        sites_config_map: str | None = None,
        waits: Waits | None = None,
        settle_s: float = 1.0,
    ) -> None:
        """Know what to watch.

        Args:
            access: the API server and the account.
            namespace: where the Service is.
            service: its name.
            port: of members whose slice names none.
            prefers_ipv6: which address is a member's name where a pod has one of each family; the
                same on all nodes of a site, and the family of each node's own address.
            sites: which of the nodes are in this one's site; None: all.
            sites_config_map: name of the ConfigMap of `namespace` from which the file of `sites`
                is, to be watched; None: the file alone is looked at.
            waits: bounds and pauses.
            settle_s: seconds between two changes that are told; a rollout changes many slices at
                once, and every change is work for all that is placed by the members.
        """
        self._settle_s = settle_s
        self._sites = sites
        self._reflector = Reflector(
            access,
            f"/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices",
            selector=f"{SERVICE_LABEL}={service}",
            waits=waits,
        )
        self._slices = EndpointSlices(port=port, prefers_ipv6=prefers_ipv6)
        self._sites_reflector = sites_config_map and Reflector(
            access,
            f"/api/v1/namespaces/{namespace}/configmaps",
            fields=f"metadata.name={sites_config_map}",
            waits=waits,
        )

    async def watch(self, changed: MembersChanged) -> None:
        """Tell the members when they were listed, and after each change, until cancelled."""
        told: frozenset[PeerId] | None = None
        if self._sites is not None:
            await self._sites.look()  # so that the first members told are those of this site
        async with asyncio.TaskGroup() as group:
            group.create_task(self._reflector.run(self._slices))
            if self._sites is not None:
                group.create_task(self._sites.watch(self._slices.changed))
                if self._sites_reflector:
                    mirror = WatchedSites(self._sites, self._slices.changed)
                    group.create_task(self._sites_reflector.run(mirror))
            while True:
                await self._slices.changed.wait()
                self._slices.changed.clear()
                if self._sites is not None:
                    await self._sites.look()
                if not self._slices.is_known:
                    continue  # it was the sites that changed
                members = self._slices.members(self._sites)
                if members != told:
                    told = members
                    changed(members)
                await asyncio.sleep(self._settle_s)


@dataclass(frozen=True, slots=True)
class _Slice:
    is_ipv6: bool
    # By pod, or by address where a slice names no pod: the member, and its node if that is named.
    members: Mapping[str, tuple[PeerId, str]]


class EndpointSlices:
    """A mirror of slices that keeps no more of them than who is a member."""

    def __init__(self, *, port: int, prefers_ipv6: bool) -> None:
        """Know nobody; see `KubernetesDiscovery` for the arguments."""
        self.changed = asyncio.Event()
        self.is_known = False
        self._port = port
        self._prefers_ipv6 = prefers_ipv6
        self._slices: dict[str, _Slice] = {}

    def replace(self, objects: Sequence[dict[str, Any]]) -> None:
        """Know these slices and no others."""
        self.is_known = True
        self._slices = {}
        for thing in objects:
            self.put(thing)
        self.changed.set()

    def put(self, thing: dict[str, Any]) -> None:
        """Know this slice as it is now."""
        name = _name(thing)
        if name not in self._slices and len(self._slices) >= MAX_OBJECTS:
            _log.error("too_many_slices", extra={"slice": name, "most": MAX_OBJECTS})
            return
        self._slices[name] = _Slice(
            is_ipv6=thing.get("addressType") == "IPv6", members=_members(thing, self._port)
        )
        self.changed.set()

    def drop(self, thing: dict[str, Any]) -> None:
        """Know this slice no more."""
        self._slices.pop(_name(thing), None)
        self.changed.set()

    def members(self, sites: NodeSites | None = None) -> frozenset[PeerId]:
        """Return everybody, each pod once even if it has an address of either family.

        Args:
            sites: leave out who is on a node of another site.
        """
        by_pod: dict[str, tuple[PeerId, str]] = {}
        for preferred in (False, True):
            for part in self._slices.values():
                if (part.is_ipv6 == self._prefers_ipv6) is preferred:
                    by_pod.update(part.members)
        return frozenset(peer for peer, node in by_pod.values() if sites is None or sites.has(node))


def _name(thing: dict[str, Any]) -> str:
    metadata = thing.get("metadata")
    return str(metadata.get("name")) if isinstance(metadata, dict) else ""


def _members(thing: dict[str, Any], default_port: int) -> dict[str, tuple[PeerId, str]]:
    if thing.get("addressType") not in ("IPv4", "IPv6"):
        return {}  # FQDN: deprecated, and no controller of Kubernetes writes it
    port = _port(thing.get("ports"), default_port)
    found: dict[str, tuple[PeerId, str]] = {}
    for endpoint in _dicts(thing.get("endpoints")):
        addresses = endpoint.get("addresses")
        # Source: API reference of EndpointSlice: the first address is the endpoint, others are to
        # be ignored.
        if not _is_ready(endpoint.get("conditions")) or not isinstance(addresses, list):
            continue
        address = addresses[0] if addresses else None
        peer = _peer(address, port) if isinstance(address, str) else None
        if peer is not None:
            target = endpoint.get("targetRef")
            pod = target.get("uid") if isinstance(target, dict) else None
            node = endpoint.get("nodeName")
            found[pod if isinstance(pod, str) else peer] = (peer, str(node or ""))
    return found


def _is_ready(conditions: object) -> bool:
    """Return whether an endpoint is to be asked.

    What is unknown counts as ready. `serving` is `ready` without the end in view, so it says
    nothing more here; `terminating` does: a Service that publishes addresses which are not ready
    calls a pod ready to its end.
    """
    if not isinstance(conditions, dict):
        return True
    return conditions.get("ready") is not False and conditions.get("terminating") is not True


def _port(ports: object, default: int) -> int:
    known = _dicts(ports)
    named = [port for port in known if port.get("name") == PORT_NAME]
    for port in named or (known if len(known) == 1 else []):
        number = port.get("port")
        if isinstance(number, int) and 1 <= number <= 65535:
            return number
    return default


def _dicts(value: object) -> list[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


# A change of one endpoint sends its whole slice again: the others are known.
@lru_cache(maxsize=MAX_ADDRESSES)
def _peer(address: str, port: int) -> PeerId | None:
    if not is_member_address(address):
        return None
    return PeerId(str(Endpoint(normal_host(address), port)))
