"""Whole sites that are too large for one tracker, made small: one copy, whatever goes wrong."""

from dataclasses import replace
from random import Random
from typing import Any

import pytest

from shoal.core.blob import MIB
from shoal.core.membership.placement import deputy_keys, ranked
from shoal.core.peer import PeerId
from shoal.core.swarm import events as on
from shoal.core.swarm.policy import Policy
from shoal.core.wire.messages import Announce, Delegate
from shoal.testing.swarm_script import blob
from shoal.testing.swarm_world import Node, World

RATE = 12_500_000.0  # 100 Mbit/s
NODES = 24
POLICY = Policy(heard_most=8)
SPEC = blob(size_bytes=24 * MIB)
IDEAL_S = SPEC.length_bytes / RATE


def site(kind: type[World] = World, *, seed: int = 1, **options: Any) -> World:
    """Return 24 nodes in 8 parts, each with one delegate."""
    settings = {"rate_bytes_per_s": RATE, "registry_bytes_per_s": RATE, "check_every": 101}
    return kind(nodes=NODES, policy=POLICY, seed=seed, **(settings | options))


def pull(it: World, *, without: tuple[PeerId, ...] = ()) -> None:
    """Let every live node pull at once, until all have the blob."""
    for name in it.live:
        if name not in without:
            it.want(name, SPEC)
    it.run(until_s=0.0)
    it.run(until_s=60, done=lambda: all(n.finished_s or n.gave_up for n in wanting(it)))


def wanting(it: World) -> list[Node]:
    return [node for node in it.live.values() if node.started_s]


def copies(it: World) -> float:
    return it.registry_bytes / SPEC.length_bytes


def whole(it: World, *, most_s: float) -> bool:
    """Whether all have it in time."""
    assert not any(node.gave_up for node in wanting(it))
    assert it.now_s <= most_s, f"took {it.now_s:.2f} s, {it.now_s / IDEAL_S:.2f} x ideal"
    return True


def deputies(it: World, name: PeerId) -> set[PeerId]:
    keys = deputy_keys(SPEC.tag, name, it.nodes[name].swarm.site.shards)
    return {ranked(key, it.nodes)[0] for key in keys}


def test_a_rollout_costs_one_copy_and_the_tracker_hears_of_delegates_only() -> None:
    it = site()
    pull(it)
    assert whole(it, most_s=1.5 * IDEAL_S)
    assert copies(it) == 1.0
    tracker = it.nodes[ranked(SPEC.tag, it.nodes)[0]].swarm.tracker
    assert len(tracker.tables[SPEC.tag].participants) <= it.live[PeerId("n0000")].swarm.site.shards


@pytest.mark.parametrize("noticed_s", [0.0, 4.0])
def test_a_tracker_that_dies_is_replaced_though_its_successor_never_spoke_to_it(
    noticed_s: float,
) -> None:
    it = site()
    tracker = ranked(SPEC.tag, it.nodes)[0]
    it.after(0.7, lambda: it.kill(tracker, noticed_s=noticed_s))
    pull(it)
    # Whoever is asked in its place dials it first, and such a dial takes two seconds to fail.
    assert whole(it, most_s=1.5 * IDEAL_S + noticed_s + 5.0)
    assert copies(it) <= 1.1  # what was under way, and what only it had: 2 % are a piece


def test_a_node_whose_deputies_die_goes_on() -> None:
    it = site()
    node = PeerId("n0005")
    dying = deputies(it, node) - {node}
    for deputy in dying:
        it.after(0.7, lambda deputy=deputy: it.kill(deputy, noticed_s=4.0))  # type: ignore[misc]
    pull(it)
    assert whole(it, most_s=1.5 * IDEAL_S + 8.0)
    assert copies(it) <= 1.1


def test_members_that_are_dead_from_the_start_cost_a_moment() -> None:
    it = site(absent=6)
    pull(it)
    assert whole(it, most_s=1.5 * IDEAL_S + 2.5)
    assert copies(it) == 1.0


def test_where_others_have_it_already_the_registry_is_not_asked() -> None:
    it = site()
    *holders, last = it.live
    for name in holders:
        it.hold(name, SPEC)
    it.run(until_s=5.0)
    it.want(last, SPEC)
    it.run(until_s=60, done=lambda: bool(it.nodes[last].finished_s))
    assert it.now_s - 5.0 <= 1.6 * IDEAL_S
    assert it.registry_bytes == 0


def half_of(it: World, name: PeerId, rng: Random) -> frozenset[PeerId]:
    """Return a view in which `name` is not the tracker itself: it would lease all to itself."""
    others = sorted(it.nodes.keys() - {name})
    while True:
        view = frozenset((*rng.sample(others, NODES // 2), name))
        if ranked(SPEC.tag, view)[0] != name:
            return view


def test_nodes_that_see_half_of_the_members_cost_no_copy() -> None:
    for seed in range(3):
        it, rng = site(seed=seed), Random(seed)  # noqa: S311
        for name in list(it.nodes)[:3]:
            view = half_of(it, name, rng)
            it.tell(name, on.MembersChanged(view))
        pull(it)
        assert whole(it, most_s=2 * IDEAL_S)
        assert copies(it) <= 1.05


def test_where_the_registry_denies_most_others_fetch_for_them() -> None:
    it = site()
    for number, node in enumerate(it.nodes.values()):
        node.denied = number % 6 != 5
    pull(it)
    assert whole(it, most_s=1.7 * IDEAL_S)
    assert copies(it) == 1.0


def test_where_the_registry_is_gone_clients_hear_of_it_soon() -> None:
    it = site()
    it.registry_up = False
    pull(it)
    assert all(node.gave_up for node in wanting(it))
    assert it.now_s <= POLICY.give_up_s


class MixedSite(World):
    """A site in which every second node is of before there were deputies."""

    @staticmethod
    def is_old(name: PeerId) -> bool:
        """Whether the node ignores what it does not know of."""
        return int(name[1:]) % 2 == 0

    def post(self, source: PeerId, target: PeerId, event: on.MessageArrived) -> None:
        """Let an old node see of a message what it can read."""
        message = event.message
        if self.is_old(target):
            assert not isinstance(message, Delegate), "it would end the connection"
            if isinstance(message, Announce):
                event = on.MessageArrived(source, replace(message, to_deputy=False))
        super().post(source, target, event)


@pytest.mark.parametrize("old_pull", [True, False])
def test_nodes_that_know_of_no_deputies_may_be_asked_as_such_and_cost_no_copy(
    *, old_pull: bool
) -> None:
    it = site(MixedSite)
    assert isinstance(it, MixedSite)
    old = tuple(name for name in it.nodes if it.is_old(name))
    for name in old:
        it.nodes[name].swarm.site.policy = replace(POLICY, heard_most=NODES)
    pull(it, without=() if old_pull else old)
    assert whole(it, most_s=1.7 * IDEAL_S)
    assert copies(it) == 1.0
