"""Makes the world that a scenario describes."""

import math
from hashlib import sha256
from random import Random

from shoal.core.blob import BlobSpec
from shoal.core.digest import Digest
from shoal.core.peer import PeerId
from shoal.core.swarm import events as on
from shoal.core.swarm.policy import Policy
from shoal.core.swarm.swarm import Swarm
from shoal.sim.client import Client, Layer
from shoal.sim.network import Link
from shoal.sim.node import Node, Place
from shoal.sim.registry import RegistryModel
from shoal.sim.scenario import Deaths, Nodes, Older, Scenario, Site
from shoal.sim.wire import SEGMENT_BYTES
from shoal.sim.world import World

WARM_UP_S = 3.0  # agents run for so long before the first client pulls: small sites are connected
# Source: Mathis et al., "The macroscopic behavior of the TCP congestion avoidance algorithm",
# CCR 27(3), 1997: rate = MSS / RTT * C / sqrt(loss), C = 1.22 without delayed acknowledgements.
_MATHIS = 1.22


def build(scenario: Scenario) -> World:
    """Return the world of `scenario`, with every node booted and every pull in its queue."""
    registry = scenario.registry
    world = World(
        registry=RegistryModel(
            link=Link(registry.rate),
            one_way_s=registry.round_trip / 2,
            first_byte_s=registry.first_byte,
            flow_bytes_per_s=float(registry.per_connection or 0),
            requests_per_s=registry.requests_per_s,
            burst=registry.burst,
            retry_after_s=registry.retry_after,
        ),
        rng=Random(f"{scenario.seed} world"),  # noqa: S311  (not for secrets)
        piece_delay_s=scenario.piece_delay,
        verify_bytes_per_s=scenario.verify,
        block_bytes=scenario.block,
    )
    places = {site.name: _place(site) for site in scenario.sites}
    policy = scenario.make_policy()
    specs = [_layer_spec(number, size) for number, size in enumerate(scenario.layers)]
    rng = Random(f"{scenario.seed} scenario")  # noqa: S311
    begins: list[tuple[Node, float]] = []
    for group in scenario.nodes:
        begins += _add_group(world, scenario, group, places[group.site], policy, specs, rng)
    _set_members(world, scenario, places)
    for group in scenario.nodes:
        _set_views(world, group, rng)
    for site in scenario.sites:
        if site.cut_at is not None:
            cut_s = WARM_UP_S + site.cut_at
            world.clock.at(cut_s, world.cut, places[site.name])
            if site.back_after is not None:
                world.clock.at(cut_s + site.back_after, world.rejoin, places[site.name])
    for node in world.nodes.values():
        world.boot(node, rng.random() * 0.1)
        for layer in node.client.layers:
            if layer.whole and not node.full:
                world.tell(node, on.BlobStored(layer.spec))
    for node, start_s in begins:
        world.unfinished += 1
        world.clock.at(WARM_UP_S + start_s, world.begin, node)
    return world


def _place(site: Site) -> Place:
    capped = 0.0
    if site.loss:
        capped = SEGMENT_BYTES * _MATHIS / (max(site.round_trip, 1e-4) * math.sqrt(site.loss))
    uplink = Link(site.uplink) if site.uplink else None
    return Place(site.name, uplink, site.round_trip / 2, site.loss, capped)


def _set_members(world: World, scenario: Scenario, places: dict[str, Place]) -> None:
    """Let every site know who is in it."""
    found: dict[str, set[PeerId]] = {name: set() for name in places}
    for node in world.nodes.values():
        found[node.place.name].add(node.name)
    for name, place in places.items():
        place.members = frozenset(found[name])
    for site in scenario.sites:
        if site.apart_from:
            both = frozenset(found[site.name] | found[site.apart_from])
            places[site.name].members = places[site.apart_from].members = both


def _set_views(world: World, group: Nodes, rng: Random) -> None:
    if group.view is None:
        return
    nodes = [node for node in world.nodes.values() if node.group == group.name]
    for node in rng.sample(nodes, round(group.view.share * group.count)):
        others = sorted(node.place.members - {node.name})
        known = rng.sample(others, round((1 - group.view.lacks) * len(others)))
        node.view = frozenset({node.name, *known})
        if group.view.until is not None:
            world.clock.at(WARM_UP_S + group.view.until, world.see_all, node)


def _layer_spec(number: int, size_bytes: int) -> BlobSpec:
    digest = Digest("sha256", sha256(f"layer {number}".encode()).hexdigest())
    return BlobSpec("registry.example", digest, size_bytes)


def _add_group(
    world: World,
    scenario: Scenario,
    group: Nodes,
    place: Place,
    policy: Policy,
    specs: list[BlobSpec],
    rng: Random,
) -> list[tuple[Node, float]]:
    begins: list[tuple[Node, float]] = []
    older = set(rng.sample(range(group.count), _part(group.older, group)))
    dying = set(rng.sample(range(group.count), _part(group.dies, group)))
    for number in range(group.count):
        name = PeerId(f"{group.name}-{number:05}")
        node = Node(
            name=name,
            group=group.name,
            place=place,
            swarm=Swarm(me=name, rng=Random(f"{scenario.seed} {name}"), policy=policy),  # noqa: S311
            up=Link(group.up or group.rate),
            down=Link(group.rate),
            client=Client([Layer(spec) for spec in specs], scenario.layers_at_once),
            latency_s=group.latency,
            full=group.full,
            healthy=group.healthy,
            pulls=not group.idle,
        )
        if group.older and number in older:
            for layer in group.older.layers:
                node.client.layers[layer].hold_all()
        if group.dies and number in dying:
            missing = sum(x.spec.length_bytes for x in node.client.layers if not x.whole)
            node.dies_at_bytes = max(1.0, group.dies.held * missing)
            node.noticed_after_s = group.dies.noticed_after
            node.back_after_s = group.dies.back_after
            node.healthy = False
        world.add(node)
        if not group.idle:
            wait_s = rng.random() * group.stagger if group.stagger else 0.0
            begins.append((node, group.start + wait_s))
    return begins


def _part(some: Older | Deaths | None, group: Nodes) -> int:
    return round(some.share * group.count) if some else 0
