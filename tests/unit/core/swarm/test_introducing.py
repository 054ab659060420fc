"""A node of a large site: deputies introduce it, and it asks the tracker only where it has to."""

from shoal.core.peer import PeerId
from shoal.core.swarm import effects as do
from shoal.core.swarm import events as on
from shoal.core.swarm.events import REGISTRY
from shoal.core.wire.messages import (
    Announce,
    Delegate,
    Introduce,
    Join,
    LeaseEnded,
    LeaseGranted,
    LeaseNone,
    LeaseOutcome,
    LeaseWanted,
    Suspects,
)
from shoal.testing.swarm_script import Script, said
from unit.core.swarm.large_site import DEPUTIES, ME, MEMBERS, OTHERS, POLICY, SPEC, TAG, TRACKER
from unit.core.swarm.large_site import member as node

FRIEND = next(peer for peer in OTHERS if peer not in (TRACKER, *DEPUTIES))


def wanting() -> Script:
    """A node that wants the blob, connected to its deputies and its tracker."""
    script = node(TRACKER, *DEPUTIES)
    script.tell(on.BlobWanted(SPEC))
    return script


def befriended() -> Script:
    """The same with a neighbour that has nothing yet."""
    script = wanting()
    script.connect(FRIEND)
    script.hear(FRIEND, Join(SPEC, 0))
    return script


def kinds(effects: list[do.Effect], *, to: PeerId) -> list[type]:
    return [type(message) for message in said(effects, to=to)]


def test_a_wanted_blob_is_announced_to_two_deputies_and_not_to_the_tracker() -> None:
    script = node(TRACKER, *DEPUTIES)
    effects = script.tell(on.BlobWanted(SPEC))
    half = POLICY.neighbours // 2
    told = Announce(SPEC, 0, wants=True, peers_sought=half, to_deputy=True)
    assert [said(effects, to=deputy) for deputy in DEPUTIES] == [[told], [told]]
    assert said(effects, to=TRACKER) == []
    assert not script.swarm.exchanges[TAG].delegate


def test_deputies_that_are_not_connected_are_dialed_and_told_then() -> None:
    script = node()
    assert {do.Connect(deputy) for deputy in DEPUTIES} <= set(script.tell(on.BlobWanted(SPEC)))
    assert kinds(script.connect(DEPUTIES[0]), to=DEPUTIES[0]) == [Announce]


def test_a_deputy_that_dies_is_replaced_by_the_next_in_its_order() -> None:
    script = wanting()
    effects = script.tell(on.PeerLost(DEPUTIES[0]))
    dialed = {effect.peer for effect in effects if isinstance(effect, do.Connect)}
    assert script.swarm.exchanges[TAG].deputies.keys()
    assert dialed - {*DEPUTIES}


def test_whom_a_deputy_names_is_met_and_whom_another_names_is_not() -> None:
    script = wanting()
    assert do.Connect(FRIEND) not in script.hear(TRACKER, Introduce(TAG, (FRIEND,)))
    assert do.Connect(FRIEND) in script.hear(DEPUTIES[1], Introduce(TAG, (FRIEND,)))


def test_a_delegate_announces_to_the_tracker_and_asks_it_for_leases() -> None:
    script = wanting()
    effects = script.hear(DEPUTIES[0], Delegate(TAG))
    assert kinds(effects, to=TRACKER) == [Announce, LeaseWanted]
    effects = script.hear(TRACKER, LeaseGranted(TAG, 0, 1))
    assert do.FetchFromRegistry(TAG, 0, 1) in effects


def test_only_a_deputy_makes_a_node_a_delegate() -> None:
    script = wanting()
    assert said(script.hear(FRIEND, Delegate(TAG)), to=TRACKER) == []


def test_a_lease_of_a_deputy_is_not_fetched() -> None:
    # As one may grant that does not know of deputies: every piece would be fetched twice.
    script = wanting()
    effects = script.hear(DEPUTIES[0], LeaseGranted(TAG, 0, 1))
    assert said(effects) == [LeaseEnded(TAG, 0, 0, LeaseOutcome.DECLINED)]
    assert not [effect for effect in effects if isinstance(effect, do.FetchFromRegistry)]


def test_a_delegate_that_the_registry_denies_tells_its_deputies() -> None:
    script = wanting()
    script.hear(DEPUTIES[0], Delegate(TAG))
    script.hear(TRACKER, LeaseGranted(TAG, 0, 1))
    effects = script.tell(on.RegistryEnded(TAG, 0, on.RegistryFault.DENIED))
    ended = LeaseEnded(TAG, 0, 0, LeaseOutcome.DENIED)
    assert [ended in said(effects, to=peer) for peer in (TRACKER, *DEPUTIES)] == [True] * 3


def test_a_node_that_meets_nobody_asks_the_tracker_itself() -> None:
    script = wanting()
    assert Announce not in kinds(script.wait(POLICY.lone_patience_s - 0.2), to=TRACKER)
    assert Announce in kinds(script.wait(0.5), to=TRACKER)


def test_a_node_to_which_nothing_comes_appeals_and_waits_while_others_are_at_work() -> None:
    script = befriended()
    effects = script.wait(POLICY.lease_patience_s + 0.3)
    assert LeaseWanted(TAG, 0) in said(effects, to=DEPUTIES[0])
    for _ in range(5):
        script.hear(DEPUTIES[0], LeaseNone(TAG))
        script.wait(1.1)
    assert not script.swarm.exchanges[TAG].delegate
    assert not script.swarm.exchanges[TAG].runs


def test_a_node_that_appeals_in_vain_asks_the_tracker_itself() -> None:
    script = befriended()
    effects = script.wait(POLICY.lease_patience_s + POLICY.stall_s + 0.5)
    assert Announce in kinds(effects, to=TRACKER)


def test_pieces_that_come_are_no_reason_to_appeal() -> None:
    script = befriended()
    effects: list[do.Effect] = []
    for piece in range(4):
        effects += script.wait(2.0) + script.tell(on.PieceStored(TAG, piece, FRIEND))
    assert LeaseWanted not in map(type, said(effects))
    assert said(effects, to=TRACKER) == []


def test_what_a_deputy_says_is_no_sign_of_the_tracker() -> None:
    script = befriended()
    script.hear(DEPUTIES[0], Delegate(TAG))
    script.wait(POLICY.lease_patience_s + 1.0)
    script.hear(DEPUTIES[0], Introduce(TAG, (FRIEND,)), LeaseNone(TAG))
    exchange = script.swarm.exchanges[TAG]
    assert exchange.heard_s < script.now_s - POLICY.lease_patience_s


def test_a_blob_that_is_whole_is_told_to_deputies_and_by_a_delegate_to_the_tracker() -> None:
    for delegate in (False, True):
        script = wanting()
        if delegate:
            script.hear(DEPUTIES[0], Delegate(TAG))
        script.tell(*(on.PieceStored(TAG, piece, REGISTRY) for piece in range(8)))
        effects = script.tell(on.BlobStored(SPEC))
        told = [[m.wants for m in said(effects, to=peer)] for peer in (*DEPUTIES, TRACKER)]  # type: ignore[union-attr]
        assert told == [[False], [False], [False] if delegate else []]


def test_a_blob_that_is_dropped_is_left_at_deputies() -> None:
    script = wanting()
    effects = script.tell(on.BlobDropped(TAG))
    assert all(said(effects, to=deputy) for deputy in DEPUTIES)
    assert said(effects, to=TRACKER) == []


def test_what_a_delegate_suspects_the_tracker_hears() -> None:
    script = wanting()
    script.hear(DEPUTIES[0], Delegate(TAG))
    script.tell(on.PieceStored(TAG, 0, FRIEND, FRIEND, bytes(32)))
    assert Suspects in kinds(script.tell(on.BlobRejected(TAG)), to=TRACKER)


def test_where_the_site_shrinks_the_tracker_is_asked_by_everybody() -> None:
    script = wanting()
    few = frozenset({ME, TRACKER, FRIEND})
    assert Announce in kinds(script.tell(on.MembersChanged(few)), to=TRACKER)


def test_where_the_site_grows_a_node_keeps_its_tracker() -> None:
    script = Script(ME, TRACKER, policy=POLICY)
    script.connect(TRACKER, *DEPUTIES)
    script.tell(on.BlobWanted(SPEC))
    script.tell(on.MembersChanged(frozenset(MEMBERS)))
    assert script.swarm.exchanges[TAG].tracker == TRACKER
    assert len(script.swarm.exchanges[TAG].deputies) == 2
