"""One node: its swarm, its links, its client, and what is counted of it."""

from dataclasses import dataclass, field

from shoal.core.blob import BlobTag
from shoal.core.peer import PeerId
from shoal.core.swarm.swarm import Swarm
from shoal.sim.client import Client
from shoal.sim.network import Flow, Link

STALLED_S = 1.0  # as the agent: after that another source may write the piece instead


@dataclass(slots=True)
class Place:
    """A site: which links lie between its nodes and the registry, and how far it all is."""

    name: str
    uplink: Link | None
    one_way_s: float
    loss: float = 0.0
    flow_bytes_per_s: float = 0.0  # what loss leaves of one connection; 0 for all
    members: frozenset[PeerId] = frozenset()
    cut: bool = False  # it has no way to the registry
    shared: float | None = None  # of what it had when it was cut off, what each node has at least


@dataclass(slots=True)
class Incoming:
    """A piece that is being written, and by which flow: one writer a piece."""

    flow: Flow
    progress_s: float


@dataclass(slots=True, eq=False)
class Node:
    """One node. Slots, since there are ten thousand."""

    name: PeerId
    group: str
    place: Place
    swarm: Swarm
    up: Link
    down: Link
    client: Client
    latency_s: float = 0.0
    alive: bool = True
    full: bool = False
    healthy: bool = True
    pulls: bool = True
    view: frozenset[PeerId] | None = None  # the members that it knows, where these are not all
    tick_due_s: float = -1.0
    dies_at_bytes: float | None = None
    back_after_s: float | None = None
    noticed_after_s: float = 0.0
    message_out_s: float = 0.0  # when the last message arrives: TCP keeps their order
    incoming: dict[tuple[BlobTag, int], Incoming] = field(default_factory=dict)
    uploaded_bytes: int = 0
    from_peers_bytes: int = 0
    from_registry_bytes: int = 0
    wasted_bytes: int = 0  # arrived and were not kept
    held_bytes: int = 0  # pieces kept so far
    messages_in: int = 0
    messages_out: int = 0
    handshakes: int = 0
    registry_requests: int = 0
    gave_up: list[str] = field(default_factory=list)
