"""Announcing: which tracker is told what, and by a node that joined just now."""

from shoal.core.membership.placement import ranked
from shoal.core.peer import PeerId
from shoal.core.swarm import effects as do
from shoal.core.swarm import events as on
from shoal.core.swarm.policy import DEFAULT
from shoal.core.wire.messages import (
    Announce,
    Join,
    LeaseGranted,
    LeaseNone,
    LeaseWanted,
)
from shoal.testing.swarm_script import Script, said
from unit.core.swarm.scripts import SPEC, TAG, A, B, piece, wanting

# --- announcing -------------------------------------------------------------------------------


def test_a_wanted_blob_is_announced_and_a_lease_asked_for() -> None:
    script = Script("me", "a", "b")
    script.connect("a")
    effects = script.tell(on.BlobWanted(SPEC, 0b1))
    assert said(effects, to="a") == [
        # Held pieces are from before: there may have been another tracker.
        Announce(SPEC, 0b1, wants=True, peers_sought=DEFAULT.neighbours, takeover=True),
        LeaseWanted(TAG),
    ]


def test_a_tracker_that_is_not_connected_is_dialed_first() -> None:
    script = Script("me", "a", "b")
    assert script.tell(on.BlobWanted(SPEC)) == [do.Connect(A)]
    assert said(script.connect("a"), to="a") == [
        Announce(SPEC, 0, wants=True, peers_sought=DEFAULT.neighbours),
        LeaseWanted(TAG),
    ]


def test_a_node_that_tracks_its_own_blob_needs_no_message() -> None:
    script = Script("me")
    effects = script.tell(on.BlobWanted(SPEC))
    assert effects == [do.FetchFromRegistry(TAG, 0, 1), do.FetchFromRegistry(TAG, 1, 2)]


def test_what_is_held_is_told_again_every_few_seconds() -> None:
    script = wanting()
    script.hear("b", Join(SPEC, 0))
    script.tell(piece(3, B))
    effects = script.wait(DEFAULT.announce_interval_s + 0.2)
    (again,) = [m for m in said(effects, to="a") if isinstance(m, Announce)]
    assert again.held == 0b1000
    assert not again.takeover


def test_who_has_no_neighbour_is_soon_announced_again() -> None:
    # Whoever has the blob may have told the tracker only now.
    effects = wanting().wait(DEFAULT.lone_announce_interval_s + 0.2)
    assert len([m for m in said(effects, to="a") if isinstance(m, Announce)]) == 1


def test_who_was_among_the_first_is_announced_again_until_it_has_half_of_what_it_seeks() -> None:
    others = [f"p{number:02}" for number in range(DEFAULT.neighbours)]
    script = Script("me", *others)
    tracker = ranked(TAG, map(PeerId, ["me", *others]))[0]
    assert tracker != "me"
    script.connect(*others)
    script.tell(on.BlobWanted(SPEC))
    often = DEFAULT.lone_announce_interval_s + 0.2
    half = DEFAULT.neighbours // 2
    for name in others[: half - 1]:
        script.hear(name, Join(SPEC, 0))
    assert Announce in map(type, said(script.wait(often), to=tracker))
    script.hear(others[half], Join(SPEC, 0))
    assert Announce not in map(type, said(script.wait(often), to=tracker))


def test_fewer_peers_are_sought_the_more_there_are() -> None:
    script = wanting()
    script.hear("b", Join(SPEC, 0))
    effects = script.wait(DEFAULT.announce_interval_s + 0.2)
    (again,) = [m for m in said(effects, to="a") if isinstance(m, Announce)]
    assert again.peers_sought == DEFAULT.neighbours - 1


def test_when_the_tracker_is_lost_the_next_is_told_that_it_takes_over() -> None:
    script = wanting()
    effects = script.tell(on.PeerLost(A))
    assert said(effects, to="b") == [
        Announce(SPEC, 0, wants=True, peers_sought=DEFAULT.neighbours, takeover=True),
        LeaseWanted(TAG),
    ]


def test_a_new_tracker_is_asked_for_leases_whatever_the_old_one_refused() -> None:
    script = wanting()
    script.hear("a", LeaseNone(TAG))
    assert LeaseWanted(TAG) in said(script.tell(on.PeerLost(A)), to="b")


def test_a_tracker_whose_connection_broke_and_stands_again_is_the_tracker_still() -> None:
    # The others never lost it: with two trackers every piece would be leased twice.
    script = wanting()
    script.hear("b", Join(SPEC, 0))
    assert do.Connect(A) in script.tell(on.PeerLost(A))
    assert [type(m) for m in said(script.connect("a"), to="a")] == [Announce, LeaseWanted]
    assert said(script.wait(6.0), to="b") == []


def test_a_tracker_that_breaks_every_connection_and_comes_back_is_tracker_no_more() -> None:
    script = wanting()
    script.hear("b", Join(SPEC, 0))
    for _ in range(2):
        script.tell(on.PeerLost(A), after_s=0.2)
        script.connect("a")
    effects = script.tell(on.PeerLost(A), after_s=0.2) + script.connect("a") + script.wait(2.0)
    assert not [m for m in said(effects, to="a") if isinstance(m, Announce | LeaseWanted)]
    assert script.swarm.exchanges[TAG].tracker == B


def test_a_tracker_that_comes_back_after_its_successor_leased_is_not_gone_back_to() -> None:
    script = wanting()
    script.tell(on.PeerLost(A))
    script.hear("b", LeaseGranted(TAG, 0, 1), after_s=DEFAULT.takeover_grace_s + 0.1)
    assert said(script.connect("a"), to="a") == []


def test_a_tracker_that_is_no_member_any_more_is_replaced() -> None:
    script = wanting()
    effects = script.tell(on.MembersChanged(frozenset({B})))
    assert [type(m) for m in said(effects, to="b")] == [Announce, LeaseWanted]


# --- a node that joined just now --------------------------------------------------------------


def joined(*, for_s: float = 0.0) -> Script:
    """A node that the others do not know yet, and that wants a blob."""
    script = Script("me", "a", "b", member_for_s=for_s)
    script.tell(on.BlobWanted(SPEC))
    script.tell(on.PeerLost(A, refused=True), on.PeerLost(B, refused=True))
    return script


def refused(script: Script, seconds: float) -> list[do.Effect]:
    """Let time pass in which every dial is refused."""
    effects: list[do.Effect] = []
    end_s = script.now_s + seconds
    while script.now_s < end_s:
        more = script.wait(0.1)
        dials = [effect.peer for effect in more if isinstance(effect, do.Connect)]
        effects += more + script.tell(*(on.PeerLost(peer, refused=True) for peer in dials))
    return effects


def test_a_node_that_is_not_known_yet_waits_a_moment_for_its_tracker() -> None:
    script = joined()
    effects = refused(script, 1.0)
    assert not [effect for effect in effects if isinstance(effect, do.FetchFromRegistry)]
    assert do.Connect(A) in effects
    assert [type(m) for m in said(script.connect("a"), to="a")] == [Announce, LeaseWanted]


def test_a_node_that_is_never_known_fetches_by_itself_before_its_client_loses_patience() -> None:
    effects = refused(joined(), 2 * DEFAULT.join_patience_s + 0.5)
    assert do.FetchFromRegistry(TAG, 0, 1) in effects


def test_a_node_that_nobody_has_known_for_long_does_not_wait_for_them() -> None:
    script = joined(for_s=60.0)
    assert 0 in script.swarm.exchanges[TAG].runs


def test_a_tracker_that_knows_this_node_at_last_is_gone_back_to() -> None:
    script = joined()
    refused(script, 2 * DEFAULT.join_patience_s + 0.5)
    assert [type(m) for m in said(script.connect("a"), to="a")][:1] == [Announce]


def test_where_no_other_member_lives_whoever_takes_over_waits_for_nobody() -> None:
    script = wanting()
    script.tell(piece(0))
    script.tell(on.PeerLost(B, failed=True))
    effects = script.tell(on.PeerLost(A, failed=True))
    # The connection to its tracker was the first of its failures: it is dialed once more.
    effects += script.tell(on.PeerLost(A, failed=True))
    assert DEFAULT.takeover_grace_s > 0.2
    effects += script.wait(0.2)
    assert do.FetchFromRegistry in [type(effect) for effect in effects]
