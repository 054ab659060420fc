"""The driver: whole rollouts in small, and everything that may go wrong in one."""

from typing import Any

import pytest

from shoal.sim.build import WARM_UP_S, build
from shoal.sim.results import Results, summarise
from shoal.sim.scenario import Scenario
from shoal.sim.world import World


def scenario(**changes: Any) -> Scenario:
    document: dict[str, Any] = {
        "title": "t",
        "until": 300,
        "registry": {"rate": "100Mbit/s"},
        "nodes": [{"count": 6, "rate": "100Mbit/s"}],
        "image": [{"size": "30MB"}, {"size": "5KB"}, {"size": "0"}, {"size": "3MB"}],
    }
    return Scenario.model_validate(document | changes)


def ran(it: Scenario) -> tuple[World, Results]:
    world = build(it)
    world.clock.run(until_s=WARM_UP_S + it.until)
    for node in world.nodes.values():
        node.swarm.check()
    return world, summarise(it, world, began_s=WARM_UP_S)


def nodes(*groups: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        {"name": f"g{number}", "rate": "100Mbit/s", "count": 3} | group
        for number, group in enumerate(groups)
    ]


def test_a_rollout_costs_the_registry_one_copy() -> None:
    world, results = ran(scenario())
    assert results.copies == pytest.approx(1.0)
    assert results.whole.finished == 6
    assert 1.0 < results.whole.times_ideal(results.whole.last_s) < 1.5
    assert all(node.wasted_bytes < 5e6 for node in world.nodes.values())
    assert results.handshakes_most == 5  # a small site is connected beforehand


def test_a_node_alone_has_the_registrys_rate() -> None:
    _, results = ran(scenario(nodes=[{"count": 1, "rate": "100Mbit/s"}]))
    assert results.whole.times_ideal(results.whole.last_s) < 1.06


def test_a_capped_connection_and_a_limit_on_requests_slow_the_registry_down() -> None:
    _, free = ran(scenario(nodes=[{"count": 1, "rate": "100Mbit/s"}]))
    capped = {"rate": "100Mbit/s", "per_connection": "10Mbit/s"}
    _, results = ran(scenario(nodes=[{"count": 1, "rate": "100Mbit/s"}], registry=capped))
    assert results.whole.last_s > 3 * free.whole.last_s
    limited = {"rate": "100Mbit/s", "requests_per_s": 4, "burst": 1, "retry_after": 0.5}
    _, results = ran(scenario(registry=limited))
    assert results.registry_refused > 0
    assert results.whole.finished == 6


def test_every_site_has_its_own_copy_over_its_own_uplink() -> None:
    sites = [{"name": "a", "uplink": "50Mbit/s"}, {"name": "b"}]
    _, results = ran(scenario(sites=sites, nodes=nodes({"site": "a"}, {"site": "b"})))
    assert results.copies == pytest.approx(1.0)
    assert results.registry_bytes == pytest.approx(2 * results.image_bytes)
    slow, fast = results.groups
    assert slow.p50_s > 33e6 / 6.25e6 > fast.ideal_s / 2


def test_layers_of_an_older_tag_come_from_those_who_have_them() -> None:
    older = {"share": 1.0, "layers": [0]}
    world, results = ran(scenario(nodes=nodes({"older": older}, {})))
    assert results.registry_bytes < 4e6
    assert results.whole.finished == 6
    holders = [n for n in world.nodes.values() if n.group == "g0"]
    assert sum(n.uploaded_bytes for n in holders) > 20e6


def test_nodes_that_die_are_left_behind_and_cost_little() -> None:
    dies = {"share": 0.34, "held": 0.5, "noticed_after": "1s"}
    world, results = ran(scenario(nodes=nodes({"dies": dies, "count": 6})))
    assert sum(not n.alive for n in world.nodes.values()) == 2
    assert (results.whole.nodes, results.whole.finished, results.alive_unfinished) == (4, 4, 0)
    assert results.copies < 1.3


def test_nodes_that_come_back_finish_with_what_they_had() -> None:
    dies = {"share": 0.34, "held": 0.5, "noticed_after": "1s", "back_after": "3s"}
    world, results = ran(scenario(nodes=nodes({"dies": dies, "count": 6})))
    assert all(n.alive and n.client.finished_s for n in world.nodes.values())
    assert results.alive_unfinished == 0
    assert results.copies < 2.0


def test_a_full_node_passes_the_swarm_by() -> None:
    world, results = ran(scenario(nodes=nodes({}, {"full": True, "count": 1})))
    full = next(n for n in world.nodes.values() if n.full)
    assert full.client.finished_s is not None
    assert (full.from_peers_bytes, full.uploaded_bytes) == (0, 0)
    assert results.registry_bytes == pytest.approx(2 * results.image_bytes)


def test_lost_packets_bound_each_connection_and_delay_messages() -> None:
    lossy = [{"name": "site", "loss": 0.02, "round_trip": "20ms"}]
    _, free = ran(scenario())
    _, results = ran(scenario(sites=lossy))
    assert results.whole.finished == 6
    assert results.whole.p50_s > free.whole.p50_s


def test_a_silent_registry_makes_clients_go_their_own_way() -> None:
    dead = {"rate": "100Mbit/s", "requests_per_s": 0.001, "burst": 1, "retry_after": "2s"}
    world, results = ran(scenario(registry=dead, until=60))
    assert results.alive_unfinished == 6
    assert any(n.gave_up for n in world.nodes.values())


def test_a_stop_order_ends_a_fetch_from_the_registry() -> None:
    it = scenario(nodes=[{"count": 1, "rate": "100Mbit/s"}], image=[{"size": "60MB"}])
    world = build(it)
    world.clock.run(until_s=WARM_UP_S + 1.0)
    (node,) = world.nodes.values()
    (exchange,) = node.swarm.exchanges.values()
    node.swarm.site.out = []
    for first in list(exchange.runs):
        world._fetches[node.name, exchange.spec.tag, first].stopped = True
    world.clock.run(until_s=WARM_UP_S + 100.0)
    assert node.client.finished_s is not None


def test_a_site_that_fell_apart_takes_one_copy_for_each_part() -> None:
    sites = [{"name": "here"}, {"name": "there", "apart_from": "here"}]
    world, results = ran(scenario(sites=sites, nodes=nodes({"site": "here"}, {"site": "there"})))
    for node in world.nodes.values():
        assert len(node.place.members) == 6
        assert all(world.nodes[peer].place is node.place for peer in node.swarm.site.links)
    assert results.whole.finished == 6
    assert results.copies < 1.05


def test_a_site_without_its_uplink_shares_what_it_has_and_ends_when_it_is_back() -> None:
    cut = {"name": "site", "uplink": "20Mbit/s", "cut_at": "3s"}
    world, results = ran(scenario(sites=[cut], until=12))
    assert results.whole.finished == 0
    assert results.shared_least == 1.0
    assert 2e6 < world.registry.sent_bytes < 12e6
    _, results = ran(scenario(sites=[cut | {"back_after": "30s"}]))
    assert (results.whole.finished, results.shared_least) == (6, 1.0)


def test_nodes_that_know_other_members_than_the_rest_do_not_take_further_copies() -> None:
    view = {"share": 0.2, "lacks": 0.5, "until": "20s"}
    several = [{"count": 20, "rate": "100Mbit/s", "view": view}]
    world, results = ran(scenario(nodes=several, image=[{"size": "60MB"}]))
    assert results.whole.finished == 20
    assert results.copies < 1.05
    assert all(node.view is None or len(node.view) < 20 for node in world.nodes.values())
