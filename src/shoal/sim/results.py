"""What came of a simulated rollout: times beside the ideal, copies, loads."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace

from shoal.core.blob import piece_length_for
from shoal.sim.node import Node
from shoal.sim.registry import BIN_S
from shoal.sim.scenario import Scenario
from shoal.sim.wire import ACK_SHARE, PIECE_FACTOR, goodput
from shoal.sim.world import World

PERCENTILES = (0.5, 0.95, 0.99, 0.999, 1.0)


@dataclass(frozen=True, slots=True)
class Times:
    """How long the pulls of some nodes took, each from its own begin, in seconds."""

    name: str
    nodes: int
    finished: int
    ideal_s: float
    p50_s: float
    p95_s: float
    p99_s: float
    p999_s: float
    last_s: float
    arrived_p99_s: float
    """The last byte's arrival: what is left is the hashing of the whole."""
    floor_s: float | None = None
    """What no system of whole pieces passes, where that is known; see `floor_s`."""

    def times_ideal(self, seconds: float) -> float:
        """Return `seconds` as a multiple of the ideal."""
        return seconds / self.ideal_s if self.ideal_s else math.nan


@dataclass(frozen=True, slots=True)
class Results:
    """One run."""

    title: str
    seed: int
    nodes: int
    image_bytes: int
    whole: Times
    """Of the healthy nodes of every group."""
    groups: list[Times]
    alive_unfinished: int
    gave_up: int
    copies: float
    """Bytes of the image that the registry sent, over the image's size and the number of sites."""
    registry_bytes: int
    registry_requests: int
    registry_refused: int
    registry_peak_bytes_per_s: float
    """The most in one second."""
    uploaded_most: float
    """The most that one node uploaded, over the image's size."""
    shared_least: float | None
    """Of what a site had that was cut off from the registry, what each of its nodes had when it was
    no longer, or at the end."""
    wasted: float
    """Bytes that arrived and were not needed, over all that arrived."""
    messages_mean: float
    """Messages that a node took in."""
    messages_most: int
    """The same for the busiest node; and what it sent."""
    messages_sent_most: int
    handshakes_mean: float
    handshakes_most: int
    events: int
    virtual_s: float
    completions_s: list[float] = field(repr=False)
    """When each node was done, from the beginning of the first pull; sorted."""
    registry_bins: list[int] = field(repr=False)
    """Bytes that the registry sent in each tenth of a second."""

    def as_json(self) -> dict[str, object]:
        """Return the run as what a JSON document holds."""
        return asdict(self)


def percentile(values: Sequence[float], share: float) -> float:
    """Return the smallest of sorted `values` that so great a share of them does not exceed."""
    if not values:
        return math.nan
    return values[max(0, math.ceil(share * len(values)) - 1)]


def ideal_s(scenario: Scenario, group_rate: float, *, missing_bytes: float) -> float:
    """Return the least time in which any system could be done, in seconds.

    Each node's link carries what it lacks once, each site's uplink and the registry's link carry
    the image once for each site. Source: design, max(S/b, S/u, k S/B), with goodput for rates.
    """
    sites = {group.site for group in scenario.nodes if not group.idle}
    uplinks = [site.uplink for site in scenario.sites if site.name in sites and site.uplink]
    image = scenario.image_bytes
    bounds = [
        missing_bytes / goodput(group_rate),
        len(sites) * image / goodput(scenario.registry.rate),
        *(image / goodput(uplink) for uplink in uplinks),
    ]
    return max(bounds)


def floor_s(scenario: Scenario) -> float | None:
    """Return the least time of the last node in any system that passes on whole pieces only.

    Each uplink has to send one image for one node less than there are, and acknowledgements beside
    it; and in the time of one piece those that have something at most double, beside the pieces
    that the registry sends meanwhile, so that in the beginning most uplinks have nothing to send.
    For one group of like nodes in one site without an uplink; None for others.
    """
    if len(scenario.nodes) > 1 or any(site.uplink for site in scenario.sites):
        return None
    (group,) = scenario.nodes
    if group.up or group.older or group.dies or group.full or group.stagger:
        return None
    pieces = [piece_length_for(size) for size in scenario.layers if size]
    whole = [min(*both) for both in zip(pieces, filter(None, scenario.layers), strict=True)]
    if not whole:
        return 0.0
    piece_s = min(whole) * PIECE_FACTOR / group.rate
    sent_bytes = scenario.image_bytes * (PIECE_FACTOR + ACK_SHARE) * (group.count - 1) / group.count
    fed = max(1.0, scenario.registry.rate / group.rate)  # pieces from the registry in `piece_s`
    have, idle = 0.0, 0.0
    while have < group.count:
        idle += 1 - have / group.count
        have = 2 * have + fed
    sending_s = sent_bytes / group.rate + idle * piece_s
    return max(ideal_s(scenario, group.rate, missing_bytes=scenario.image_bytes), sending_s)


def summarise(scenario: Scenario, world: World, *, began_s: float) -> Results:
    """Return the results of a world that has run."""
    pulling = [node for node in world.nodes.values() if node.pulls]
    groups = [
        _times(scenario, group.name, [n for n in pulling if n.group == group.name])
        for group in scenario.nodes
        if not group.idle
    ]
    healthy = [node for node in pulling if node.healthy and not node.full]
    registry = world.registry
    sites = len({node.place.name for node in pulling})
    arrived = sum(n.from_peers_bytes + n.from_registry_bytes for n in world.nodes.values())
    everyone = world.nodes.values()
    width = max(registry.bins, default=-1) + 1
    bins = [registry.bins.get(number, 0) for number in range(width)]
    first = int(began_s / BIN_S)
    second = round(1 / BIN_S)
    peak = max((sum(bins[i : i + second]) for i in range(len(bins))), default=0)
    finished = sorted(
        n.client.finished_s - began_s for n in pulling if n.client.finished_s is not None
    )
    image = max(1, scenario.image_bytes)
    return Results(
        title=scenario.title,
        seed=scenario.seed,
        nodes=len(world.nodes),
        image_bytes=scenario.image_bytes,
        whole=replace(_times(scenario, "healthy", healthy), floor_s=floor_s(scenario)),
        groups=groups,
        alive_unfinished=sum(n.alive and n.client.finished_s is None for n in pulling),
        gave_up=sum(bool(node.gave_up) for node in everyone),
        copies=registry.sent_bytes / image / max(1, sites),
        registry_bytes=registry.sent_bytes,
        registry_requests=registry.requests,
        registry_refused=registry.refused,
        registry_peak_bytes_per_s=float(peak),
        uploaded_most=max((n.uploaded_bytes for n in everyone), default=0) / image,
        shared_least=_shared(world, pulling),
        wasted=sum(n.wasted_bytes for n in everyone) / max(1, arrived),
        messages_mean=sum(n.messages_in for n in everyone) / max(1, len(everyone)),
        messages_most=max((n.messages_in for n in everyone), default=0),
        messages_sent_most=max((n.messages_out for n in everyone), default=0),
        handshakes_mean=sum(n.handshakes for n in everyone) / max(1, len(everyone)),
        handshakes_most=max((n.handshakes for n in everyone), default=0),
        events=world.clock.events,
        virtual_s=world.clock.now_s - began_s,
        completions_s=finished,
        registry_bins=bins[first:],
    )


def _shared(world: World, pulling: list[Node]) -> float | None:
    places = {node.place.name: node.place for node in pulling}.values()
    shared = [world.shared(place) if place.cut else place.shared for place in places]
    return min((each for each in shared if each is not None), default=None)


def _times(scenario: Scenario, name: str, nodes: list[Node]) -> Times:
    rate = min((n.down.bytes_per_s for n in nodes), default=math.inf)
    whole = scenario.image_bytes
    done: list[float] = []
    arrived: list[float] = []
    missing = 0.0
    for node in nodes:
        client = node.client
        own = sum(x.spec.length_bytes for x in client.layers if x.done_s != 0.0)
        missing = max(missing, own)
        if client.started_s is not None and client.finished_s is not None:
            done.append(client.finished_s - client.started_s)
            arrived.append(client.arrived_s - client.started_s)
    done.sort()
    arrived.sort()
    p50, p95, p99, p999, last = (percentile(done, share) for share in PERCENTILES)
    return Times(
        name=name,
        nodes=len(nodes),
        finished=len(done),
        ideal_s=ideal_s(scenario, rate, missing_bytes=min(missing, whole)),
        p50_s=p50,
        p95_s=p95,
        p99_s=p99,
        p999_s=p999,
        last_s=last,
        arrived_p99_s=percentile(arrived, 0.99),
    )
