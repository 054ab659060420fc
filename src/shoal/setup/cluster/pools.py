"""Which nodes make a site: decided from node pools and from the labels of nodes.

Rules, from the component's page: a pool is a cloud pool, or a dedicated edge pool with inter-node
connection; the pool is the site. Here nodes that cannot reach each other are sites of one node
each, in which an agent is a cache and nothing more; a pool that was named must be able to do
better, or its name is probably wrong.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

# Of a node, the pool that it is in: ACK's label, OpenYurt's. Source: docs/kubernetes.md.
POOL_LABELS = ("alibabacloud.com/nodepool-id", "apps.openyurt.io/nodepool")
EDGE_LABELS = ("alibabacloud.com/is-edge-worker", "openyurt.io/is-edge-worker")
# Of a pool: whether its nodes reach each other, and by which network they are attached.
_CONNECTED = "alibabacloud.com/pool-nodes-connected"
_ATTACHED = "alibabacloud.com/interconnection-mode"
_DEDICATED = "private"

DEFAULT_SITE = "default"
EVERY_NODE = "*"


class Kind(StrEnum):
    """What a pool is good for."""

    CLOUD = "a cloud pool"
    CONNECTED = "a dedicated edge pool with inter-node connection"
    SEPARATE = "a dedicated edge pool without inter-node connection"
    BASIC = "an edge pool that is not dedicated"
    UNKNOWN = "an edge pool of which nothing is known"

    @property
    def is_site(self) -> bool:
        """Whether its nodes exchange pieces."""
        return self in (Kind.CLOUD, Kind.CONNECTED)


@dataclass(frozen=True, slots=True)
class Pool:
    """A node pool, by its ID."""

    id: str
    kind: Kind


@dataclass(frozen=True, slots=True)
class NodeSeen:
    """Of a node, what is known of its pool."""

    name: str
    pool: str = ""
    """ID; empty: none."""
    is_edge: bool | None = None
    """None: nothing says so."""


@dataclass(frozen=True, slots=True)
class Sites:
    """The sites of all nodes that may have an agent."""

    by_node: Mapping[str, str]
    """A node's name, or EVERY_NODE for all that are not named, to its site. Others are alone."""
    remarks: tuple[str, ...] = ()
    """What an operator should know, a sentence each."""
    refusal: str = ""
    """Why nothing can be installed; empty if it can."""


def node_seen(thing: Mapping[str, Any]) -> NodeSeen:
    """Return what the metadata of a Node object says."""
    metadata = thing.get("metadata") or {}
    labels = metadata.get("labels") or {}
    edge = next((labels[key] for key in EDGE_LABELS if key in labels), None)
    return NodeSeen(
        str(metadata.get("name", "")),
        next((labels[key] for key in POOL_LABELS if labels.get(key)), ""),
        None if edge is None else edge == "true",
    )


def pool_seen(thing: Mapping[str, Any]) -> Pool:
    """Return what a NodePool object says, of ACK or OpenYurt.

    ACK says it in annotations (the labels are read too), OpenYurt in its `spec`; both have
    `spec.type`.
    """
    metadata, spec = thing.get("metadata") or {}, thing.get("spec") or {}
    said = {**(metadata.get("labels") or {}), **(metadata.get("annotations") or {})}
    is_connected = said.get(_CONNECTED) == "true" or spec.get("interConnectivity") is True
    attached = said.get(_ATTACHED)
    if str(spec.get("type", "")).lower() == "cloud":
        kind = Kind.CLOUD
    elif attached is not None and attached != _DEDICATED:
        kind = Kind.BASIC  # whatever else it says: over the internet nodes are not near each other
    else:
        kind = Kind.CONNECTED if is_connected else Kind.SEPARATE
    return Pool(str(metadata.get("name", "")), kind)


def decide(
    nodes: Iterable[NodeSeen], pools: Iterable[Pool], *, only: str = "", all_nodes: bool = False
) -> Sites:
    """Return the sites.

    Args:
        nodes: all nodes of the cluster.
        pools: all NodePool objects; none where the cluster knows no such kind.
        only: ID of the one pool that has agents; empty: not limited to one.
        all_nodes: whether nodes that are not edge nodes have agents too.
    """
    seen = sorted(nodes, key=lambda node: node.name)
    kinds = _kinds(seen, pools)
    if only:
        return _one_pool(only, kinds)
    if all_nodes and not any(node.pool or node.is_edge for node in seen):
        # No notion of pools here. Who joins later belongs to them at once.
        return Sites({EVERY_NODE: DEFAULT_SITE})
    concerned = [node for node in seen if all_nodes or node.is_edge]
    by_node: dict[str, str] = {}
    alone: dict[str, int] = {}
    for node in concerned:
        if not node.pool:
            if node.is_edge:
                alone[""] = alone.get("", 0) + 1
            else:
                by_node[node.name] = DEFAULT_SITE
        elif kinds[node.pool].is_site:
            by_node[node.name] = node.pool
        else:
            alone[node.pool] = alone.get(node.pool, 0) + 1
    remarks = [_alone(pool, count, kinds) for pool, count in sorted(alone.items())]
    if not concerned:
        remarks.append(
            "no node is an edge node (label alibabacloud.com/is-edge-worker or "
            "openyurt.io/is-edge-worker), so no node gets an agent: set edgeNodePool.allNodes to "
            "true if this cluster has no such labels"
        )
    return Sites(by_node, tuple(remarks))


def _kinds(nodes: Iterable[NodeSeen], pools: Iterable[Pool]) -> dict[str, Kind]:
    # Of a pool without an object its nodes tell, and only all of them together.
    guessed: dict[str, Kind] = {}
    for node in nodes:
        if node.pool and (node.is_edge is not False or node.pool not in guessed):
            guessed[node.pool] = Kind.CLOUD if node.is_edge is False else Kind.UNKNOWN
    return guessed | {pool.id: pool.kind for pool in pools}


def _one_pool(id_: str, kinds: Mapping[str, Kind]) -> Sites:
    kind = kinds.get(id_)
    if kind is None:
        known = ", ".join(sorted(kinds)[:10]) or "none"
        return Sites(
            {},
            refusal=f"there is no node pool with the ID {id_!r} (pools here: {known}): set "
            "edgeNodePool.id to the ID of a pool, not its name",
        )
    if kind is Kind.BASIC:
        return Sites(
            {},
            refusal=f"node pool {id_} is {kind}: use a cloud pool, or a dedicated edge pool with "
            "inter-node connection",
        )
    if not kind.is_site:
        return Sites({}, (_separate(f"node pool {id_} is {kind}"),))
    return Sites({EVERY_NODE: id_})


def _alone(pool: str, count: int, kinds: Mapping[str, Kind]) -> str:
    nodes = f"{count} node{'s' if count > 1 else ''}"
    if not pool:
        return _separate(f"{nodes} at the edge are in no node pool")
    return _separate(f"node pool {pool} ({nodes}) is {kinds[pool]}")


def _separate(what: str) -> str:
    return f"{what}: each of its nodes is a site of its own, a cache that exchanges with no other"
