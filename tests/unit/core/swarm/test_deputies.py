"""A deputy introduces, leases nothing, and always has somebody who asks for leases."""

from collections.abc import Callable
from random import Random

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from shoal.core.peer import PeerId
from shoal.core.swarm import effects as do
from shoal.core.swarm.deputies import ENTRIES_MOST, LOOK_S, ROLLS_MOST, Deputies
from shoal.core.swarm.policy import Policy
from shoal.core.swarm.site import Site
from shoal.core.wire.messages import Announce, Delegate, Introduce, LeaseNone, Message
from shoal.testing.swarm_script import blob, said

NODES = [PeerId(f"n{number}") for number in range(12)]
SPEC = blob(pieces=4)
TAG = SPEC.tag
DELEGATE, NONE = Delegate(TAG), LeaseNone(TAG)


class Bench:
    """A deputy in a site of 12 nodes and itself, all connected to it."""

    def __init__(self, *, heard_most: int = 12) -> None:
        # Two deputies for each of 13 in 4 parts: 12 // 4 delegates are sought.
        self.site = Site(PeerId("me"), Policy(heard_most=heard_most))
        self.site.members = frozenset({*NODES, PeerId("me")})
        self.site.links.update(NODES)
        self.deputies = Deputies(self.site, Random(1))  # noqa: S311
        self.site.begin(100.0)

    def announce(self, peer: PeerId, *, wants: bool = True, sought: int = 0) -> list[Message]:
        """A node says that it wants or has the blob; return what it hears."""
        return self.heard(
            peer, lambda: self.deputies.announced(peer, Announce(SPEC, 0, wants, sought))
        )

    def appeal(self, peer: PeerId) -> list[Message]:
        """Nothing comes to a node; return what it hears."""
        return self.heard(peer, lambda: self.deputies.appealed(peer, TAG))

    def heard(self, peer: PeerId | None, act: Callable[[], None]) -> list[Message]:
        """Do something, and return what `peer` hears of it."""
        self.site.out = []
        act()
        self.deputies.check()
        return said(self.site.out, to=peer)

    def wait(self, seconds: float) -> None:
        """Let time pass."""
        self.site.begin(self.site.now_s + seconds)
        self.deputies.ticked()

    @property
    def delegates(self) -> list[PeerId]:
        """Who fetches for the others."""
        roll = self.deputies.rolls.get(TAG)
        return [peer for peer, entry in roll.entries.items() if entry.serves] if roll else []


def test_a_node_that_announces_is_told_of_those_before_it() -> None:
    bench = Bench()
    bench.announce(NODES[0])
    bench.announce(NODES[1], wants=False)
    (introduced, _) = bench.announce(NODES[2], sought=8)
    assert isinstance(introduced, Introduce)
    assert set(introduced.peers) == set(NODES[:2])


def test_the_first_to_announce_are_delegates_and_the_others_are_not() -> None:
    bench = Bench()
    said_to = [bench.announce(node) for node in NODES[:5]]
    assert said_to == [[DELEGATE], [DELEGATE], [DELEGATE], [], []]


def test_who_announces_again_is_not_called_again() -> None:
    bench = Bench()
    bench.announce(NODES[0])
    assert bench.announce(NODES[0]) == []


def test_a_site_of_many_parts_has_one_delegate_in_each() -> None:
    bench = Bench(heard_most=2)
    assert bench.site.shards > 2
    assert bench.announce(NODES[0]) == [DELEGATE]
    assert bench.announce(NODES[1]) == []


def test_where_a_delegate_goes_another_is_named_that_wants_the_blob() -> None:
    bench = Bench()
    for node in NODES[:3]:
        bench.announce(node)
    bench.announce(NODES[3], wants=False)
    bench.announce(NODES[4])
    assert bench.heard(NODES[4], lambda: bench.deputies.left(NODES[0], [TAG])) == [DELEGATE]
    assert bench.heard(NODES[3], lambda: bench.deputies.lost(NODES[1])) == [DELEGATE]


def test_where_the_registry_denies_a_delegate_another_is_named_and_it_is_not_again() -> None:
    bench = Bench()
    for node in NODES[:4]:
        bench.announce(node)
    assert bench.heard(NODES[3], lambda: bench.deputies.denied(NODES[0], TAG)) == [DELEGATE]
    bench.deputies.left(NODES[1], [TAG])
    assert bench.announce(NODES[0]) == []
    assert bench.appeal(NODES[0]) == [NONE]


def test_who_appeals_hears_that_others_are_at_work_but_one_at_first_and_then_ever_fewer() -> None:
    bench = Bench()
    for node in NODES[:9]:
        bench.announce(node)
    assert bench.appeal(NODES[3]) == [DELEGATE]
    assert bench.appeal(NODES[4]) == [NONE]
    bench.wait(2.1)
    assert bench.appeal(NODES[4]) == [DELEGATE]
    bench.wait(2.1)
    assert bench.appeal(NODES[5]) == [NONE]
    bench.wait(2.0)
    assert bench.appeal(NODES[5]) == [DELEGATE]


def test_a_delegate_that_did_not_hear_it_hears_it_again() -> None:
    bench = Bench()
    bench.announce(NODES[0])
    assert bench.appeal(NODES[0]) == [DELEGATE]


def test_who_appeals_where_nobody_serves_is_a_delegate() -> None:
    bench = Bench(heard_most=2)
    bench.announce(NODES[0])
    bench.announce(NODES[1])
    bench.site.links.discard(NODES[1])
    bench.deputies.denied(NODES[0], TAG)
    assert bench.appeal(NODES[1]) == []  # it is not connected: what is said to it is lost
    bench.site.links.add(NODES[1])
    assert bench.appeal(NODES[1]) == [DELEGATE]


def test_a_holder_whose_connection_ends_is_kept_and_forgotten_when_it_falls_silent() -> None:
    bench = Bench()
    bench.announce(NODES[0], wants=False)
    bench.announce(NODES[1])
    bench.deputies.lost(NODES[0])
    bench.deputies.lost(NODES[1])
    assert bench.deputies.hears(NODES[0], TAG)
    assert not bench.deputies.hears(NODES[1], TAG)
    bench.wait(4 * bench.site.policy.hold_announce_interval_s + LOOK_S)
    assert not bench.deputies.rolls


def test_a_flood_of_nodes_or_blobs_is_bounded_and_answered() -> None:
    bench = Bench()
    for number in range(ENTRIES_MOST + 5):
        bench.announce(PeerId(f"p{number}"))
    assert len(bench.deputies.rolls[TAG].entries) == ENTRIES_MOST
    (introduced,) = bench.announce(NODES[0], sought=4)
    assert isinstance(introduced, Introduce)
    for number in range(ROLLS_MOST + 5):
        other = blob(pieces=1, name=f"blob {number}")
        bench.deputies.announced(NODES[0], Announce(other, 0, True, 0))
    assert len(bench.deputies.rolls) == ROLLS_MOST


class Rolls(RuleBasedStateMachine):
    """Nodes announce, appeal, are denied, go and come, in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.bench = Bench()

    @rule(peer=st.sampled_from(NODES), wants=st.booleans(), sought=st.integers(0, 8))
    def announces(self, peer: PeerId, wants: bool, sought: int) -> None:
        """Introductions are of others who were announced."""
        self.bench.site.links.add(peer)
        for message in self.bench.announce(peer, wants=wants, sought=sought):
            if isinstance(message, Introduce):
                assert len(message.peers) <= sought
                assert peer not in message.peers
                assert all(self.bench.deputies.hears(other, TAG) for other in message.peers)

    @precondition(lambda self: self.bench.deputies.rolls)
    @rule(peer=st.sampled_from(NODES))
    def appeals(self, peer: PeerId) -> None:
        """Whoever appeals is answered."""
        if self.bench.deputies.hears(peer, TAG) and peer in self.bench.site.links:
            assert self.bench.appeal(peer) in ([DELEGATE], [NONE])

    @rule(peer=st.sampled_from(NODES))
    def is_denied(self, peer: PeerId) -> None:
        """The registry refuses its credential."""
        self.bench.heard(peer, lambda: self.bench.deputies.denied(peer, TAG))

    @rule(peer=st.sampled_from(NODES))
    def leaves(self, peer: PeerId) -> None:
        """It drops the blob."""
        self.bench.heard(peer, lambda: self.bench.deputies.left(peer, [TAG]))

    @rule(peer=st.sampled_from(NODES))
    def dies(self, peer: PeerId) -> None:
        """Its connection breaks."""
        self.bench.site.links.discard(peer)
        self.bench.heard(peer, lambda: self.bench.deputies.lost(peer))

    @rule(seconds=st.sampled_from([0.1, 3.0, 21.0, 300.0]))
    def time_passes(self, seconds: float) -> None:
        """Who says nothing is forgotten."""
        self.bench.wait(seconds)

    @invariant()
    def somebody_serves(self) -> None:
        """As long as somebody is there who may fetch, there is a delegate."""
        roll = self.bench.deputies.rolls.get(TAG)
        if roll is not None and not self.bench.delegates:
            links = self.bench.site.links
            assert not any(not e.denied for p, e in roll.entries.items() if p in links)

    @invariant()
    def nothing_is_leased(self) -> None:
        """A deputy says three things only, and orders nothing."""
        for effect in self.bench.site.out:
            assert isinstance(effect, do.Send)
            assert isinstance(effect.message, Introduce | Delegate | LeaseNone)


TestRolls = Rolls.TestCase
TestRolls.settings = settings(deadline=None, max_examples=60, stateful_step_count=40)
