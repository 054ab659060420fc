"""From a scenario to a world."""

import pytest

from shoal.sim.build import WARM_UP_S, build
from shoal.sim.scenario import Scenario, read

TEXT = """
title: t
registry: {rate: 1Gbit/s, per_connection: 100Mbit/s, requests_per_s: 5, burst: 2, round_trip: 8ms}
sites: [{name: a, uplink: 50Mbit/s}, {name: b, round_trip: 10ms, loss: 0.01}]
nodes:
  - {name: one, site: a, count: 4, rate: 100Mbit/s, older: {share: 0.5, layers: [0]}}
  - {name: two, site: b, count: 10, rate: 1Gbit/s, up: 10Mbit/s, stagger: 5s,
     dies: {share: 0.2, held: 0.25, back_after: 3s}}
  - {name: three, site: b, count: 1, rate: 1Gbit/s, idle: true}
image: [{size: 2MiB}, {size: 6MiB}]
"""


@pytest.fixture
def scenario() -> Scenario:
    return read(TEXT, source="t")


def test_every_node_has_its_links_and_its_sites_members(scenario: Scenario) -> None:
    world = build(scenario)
    assert len(world.nodes) == 15
    node = next(n for n in world.nodes.values() if n.group == "two")
    assert (node.up.bytes_per_s, node.down.bytes_per_s) == (1_250_000, 125_000_000)
    assert node.swarm.site.members == {n.name for n in world.nodes.values() if n.group != "one"}
    assert node.place.flow_bytes_per_s == pytest.approx(1448 * 1.22 / (0.01 * 0.1))
    assert next(iter(world.nodes.values())).place.uplink is not None
    assert world.unfinished == 14


def test_some_have_layers_of_an_older_tag_and_some_will_die(scenario: Scenario) -> None:
    world = build(scenario)
    holding = [n for n in world.nodes.values() if n.client.layers[0].whole]
    assert {n.group for n in holding} == {"one"}
    assert len(holding) == 2
    dying = [n for n in world.nodes.values() if n.dies_at_bytes]
    assert len(dying) == 2
    assert all(n.dies_at_bytes == 2 * 1024 * 1024 and n.back_after_s == 3.0 for n in dying)


def test_the_registry_is_as_limited_as_the_scenario_says(scenario: Scenario) -> None:
    registry = build(scenario).registry
    assert (registry.flow_bytes_per_s, registry.requests_per_s, registry.burst) == (12.5e6, 5, 2)
    assert registry.one_way_s == pytest.approx(0.004)


def test_pulls_begin_after_the_agents_have_met_and_spread_over_the_stagger(
    scenario: Scenario,
) -> None:
    world = build(scenario)
    world.clock.run(until_s=WARM_UP_S - 0.001)
    assert all(n.client.started_s is None for n in world.nodes.values())
    world.clock.run(until_s=WARM_UP_S + 6.0)
    started = sorted(n.client.started_s or 0.0 for n in world.nodes.values() if n.group == "two")
    assert started[-1] - started[0] > 1.0
