"""A node and the trackers of its blobs: announcing, fetching under leases, and giving up."""

from dataclasses import replace

import pytest

from shoal.core.blob import BlobSpec
from shoal.core.peer import PeerId
from shoal.core.swarm import effects as do
from shoal.core.swarm import events as on
from shoal.core.swarm.events import REGISTRY, RegistryFault
from shoal.core.swarm.policy import DEFAULT
from shoal.core.wire.messages import (
    Announce,
    Introduce,
    Join,
    LeaseEnded,
    LeaseGranted,
    LeaseNone,
    LeaseOutcome,
    LeaseProgress,
    LeaseWanted,
)
from shoal.testing.swarm_script import Script, blob, blob_tracked_by, orders, said

A, B = PeerId("a"), PeerId("b")
SPEC = blob_tracked_by("a", "b", "me", pieces=8)
TAG = SPEC.tag
DONE, FAILED, DENIED, DECLINED = LeaseOutcome
FAULT = RegistryFault.FAILED


def connected(spec: BlobSpec = SPEC, *, held: int = 0) -> Script:
    """A node that wants a blob that a tracks, and is connected to a and b."""
    script = Script("me", "a", "b")
    script.connect("a", "b")
    script.tell(on.BlobWanted(spec, held))
    return script


def leased(first: int = 0, count: int = 2) -> Script:
    script = connected()
    assert orders(script.hear("a", LeaseGranted(TAG, first, count))) == [
        do.FetchFromRegistry(TAG, first, count)
    ]
    return script


def endings(effects: list[do.Effect]) -> list[tuple[int, int, LeaseOutcome]]:
    return [(m.first, m.done, m.outcome) for m in said(effects) if isinstance(m, LeaseEnded)]


def piece(number: int, source: PeerId = REGISTRY) -> on.PieceStored:
    return on.PieceStored(TAG, number, source)


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
    script = connected()
    script.hear("b", Join(SPEC, 0))
    script.tell(piece(3, B))
    effects = script.wait(DEFAULT.announce_interval_s + 0.2)
    (again,) = [m for m in said(effects, to="a") if isinstance(m, Announce)]
    assert again.held == 0b1000
    assert not again.takeover


def test_who_has_no_neighbour_is_soon_announced_again() -> None:
    # Whoever has the blob may have told the tracker only now.
    effects = connected().wait(DEFAULT.lone_announce_interval_s + 0.2)
    assert len([m for m in said(effects, to="a") if isinstance(m, Announce)]) == 1


def test_fewer_peers_are_sought_the_more_there_are() -> None:
    script = connected()
    script.hear("b", Join(SPEC, 0))
    effects = script.wait(DEFAULT.announce_interval_s + 0.2)
    (again,) = [m for m in said(effects, to="a") if isinstance(m, Announce)]
    assert again.peers_sought == DEFAULT.neighbours - 1


def test_when_the_tracker_is_lost_the_next_is_told_that_it_takes_over() -> None:
    script = connected()
    effects = script.tell(on.PeerLost(A))
    assert said(effects, to="b") == [
        Announce(SPEC, 0, wants=True, peers_sought=DEFAULT.neighbours, takeover=True),
        LeaseWanted(TAG),
    ]


def test_a_new_tracker_is_asked_for_leases_whatever_the_old_one_refused() -> None:
    script = connected()
    script.hear("a", LeaseNone(TAG))
    assert LeaseWanted(TAG) in said(script.tell(on.PeerLost(A)), to="b")


def test_a_tracker_whose_connection_broke_and_stands_again_is_the_tracker_still() -> None:
    # The others never lost it: with two trackers every piece would be leased twice.
    script = connected()
    script.hear("b", Join(SPEC, 0))
    assert do.Connect(A) in script.tell(on.PeerLost(A))
    assert [type(m) for m in said(script.connect("a"), to="a")] == [Announce, LeaseWanted]
    assert said(script.wait(6.0), to="b") == []


def test_a_tracker_that_breaks_every_connection_and_comes_back_is_tracker_no_more() -> None:
    script = connected()
    script.hear("b", Join(SPEC, 0))
    for _ in range(2):
        script.tell(on.PeerLost(A), after_s=0.2)
        script.connect("a")
    effects = script.tell(on.PeerLost(A), after_s=0.2) + script.connect("a") + script.wait(2.0)
    assert not [m for m in said(effects, to="a") if isinstance(m, Announce | LeaseWanted)]
    assert script.swarm.exchanges[TAG].tracker == B


def test_a_tracker_that_comes_back_after_its_successor_leased_is_not_gone_back_to() -> None:
    script = connected()
    script.tell(on.PeerLost(A))
    script.hear("b", LeaseGranted(TAG, 0, 1), after_s=DEFAULT.takeover_grace_s + 0.1)
    assert said(script.connect("a"), to="a") == []


def test_a_tracker_that_is_no_member_any_more_is_replaced() -> None:
    script = connected()
    effects = script.tell(on.MembersChanged(frozenset({B})))
    assert [type(m) for m in said(effects, to="b")] == [Announce, LeaseWanted]


# --- fetching under a lease -------------------------------------------------------------------


def test_a_lease_is_ended_when_all_of_it_came() -> None:
    script = leased(0, 2)
    script.tell(piece(0), piece(1))
    assert endings(script.tell(on.RegistryEnded(TAG, 0))) == [(0, 2, DONE)]


def test_the_tracker_hears_of_every_piece_and_now_and_then_of_bytes() -> None:
    script = leased(0, 3)
    script.hear("b", Join(SPEC, 0))
    progress = on.PieceProgressed(TAG, 0, REGISTRY)
    assert said(script.tell(progress, after_s=0.5), to="a") == []
    assert said(script.tell(progress, after_s=0.6), to="a") == [LeaseProgress(TAG, 0, 0)]
    assert said(script.tell(piece(0)), to="a") == [LeaseProgress(TAG, 0, 1)]


def test_a_fetch_that_fails_is_told_and_the_registry_rested() -> None:
    script = leased(0, 3)
    script.tell(piece(0))
    assert endings(script.tell(on.RegistryEnded(TAG, 0, FAULT))) == [(0, 1, FAILED)]


def test_a_registry_that_failed_is_asked_again_a_little_later_each_time() -> None:
    script = Script("me")
    script.tell(on.BlobWanted(SPEC))
    assert script.tell(on.RegistryEnded(TAG, 0, FAULT)) == []
    assert script.wait(0.4) == []
    assert script.wait(0.2) == [do.FetchFromRegistry(TAG, 0, 1)]
    script.tell(piece(1))  # or readers would be told after a third failure
    script.tell(on.RegistryEnded(TAG, 0, FAULT), on.RegistryEnded(TAG, 1, FAULT))
    assert script.wait(0.9) == []
    assert script.wait(0.2)


def test_the_registrys_wish_to_be_left_alone_reaches_the_tracker_and_is_obeyed_here() -> None:
    script = leased()
    effects = script.tell(on.RegistryEnded(TAG, 0, FAULT, retry_after_s=5.0))
    (ending,) = [m for m in said(effects) if isinstance(m, LeaseEnded)]
    assert ending.retry_after_s == 5.0
    script.hear("b", Join(SPEC, 0xFF))  # so that there is progress
    for number in range(4):
        script.tell(piece(number, B))
        assert LeaseWanted(TAG) not in said(script.wait(1.0), to="a")


def given_up_after_s(script: Script, *, most_s: float = 8.0) -> float | None:
    """Return after how many seconds readers are told that the blob will not come."""
    for tenths in range(int(10 * most_s)):
        if any(isinstance(effect, do.GiveUp) for effect in script.wait(0.1)):
            return tenths / 10
    return None


def test_a_registry_that_asks_for_an_hour_is_not_waited_for_by_readers() -> None:
    script = Script("me")
    script.tell(on.BlobWanted(SPEC))
    for first in list(script.swarm.exchanges[TAG].runs):
        script.tell(on.RegistryEnded(TAG, first, FAULT, retry_after_s=3600.0))
    after_s = given_up_after_s(script)
    assert after_s is not None
    assert after_s < 2.0


def test_a_registry_that_asks_for_an_hour_does_not_end_what_a_peer_may_bring() -> None:
    script = leased()
    script.hear("b", Join(SPEC, 0xFF))
    script.tell(on.RegistryEnded(TAG, 0, FAULT, retry_after_s=3600.0))
    for number in range(4):
        assert given_up_after_s(script, most_s=2.5) is None
        script.tell(piece(number, B))


def test_where_there_are_others_they_have_a_while_to_end_what_they_began() -> None:
    script = leased()
    script.tell(on.RegistryEnded(TAG, 0, FAULT, retry_after_s=3600.0))
    after_s = given_up_after_s(script)
    assert after_s is not None
    assert 2.0 < after_s < 5.0


def test_a_registry_that_asks_for_some_seconds_is_waited_for() -> None:
    script = leased()
    script.tell(on.RegistryEnded(TAG, 0, FAULT, retry_after_s=5.0))
    script.hear("a", Introduce(TAG, ()))
    assert given_up_after_s(script, most_s=4.5) is None


def test_a_lease_of_what_came_meanwhile_ends_at_once() -> None:
    script = connected(held=0b11)
    effects = script.hear("a", LeaseGranted(TAG, 0, 2))
    assert orders(effects) == []
    assert endings(effects) == [(0, 2, DONE)]


def test_a_lease_is_declined_by_who_wants_nothing_any_more() -> None:
    script = connected()
    script.tell(on.BlobDropped(TAG))
    assert endings(script.hear("a", LeaseGranted(TAG, 0, 2))) == [(0, 0, DECLINED)]


def test_a_lease_by_another_than_the_tracker_is_declined() -> None:
    effects = connected().hear("b", LeaseGranted(TAG, 0, 2))
    assert orders(effects) == []
    assert endings(effects) == [(0, 0, DECLINED)]


def test_a_lease_on_what_is_being_fetched_is_declined() -> None:
    script = leased(0, 4)
    effects = script.hear("a", LeaseGranted(TAG, 2, 4))
    assert orders(effects) == []
    assert endings(effects) == [(2, 0, DECLINED)]


@pytest.mark.parametrize(
    ("first", "count"), [(0, 0), (8, 1), (0, 9), (7, 2), (2**32 - 1, 2**32 - 1)]
)
def test_a_tracker_whose_lease_makes_no_sense_is_left_out(first: int, count: int) -> None:
    script = connected()
    (order,) = orders(script.hear("a", LeaseGranted(TAG, first, count)))
    assert isinstance(order, do.Disconnect)
    assert Announce in [type(m) for m in said(script.tell(on.PeerLost(A)), to="b")]


def test_a_node_has_few_hands_for_the_registry_whatever_the_number_of_blobs() -> None:
    script = Script("me")
    effects = []
    for number in range(5):
        effects += script.tell(on.BlobWanted(blob(pieces=8, name=f"b{number}")))
    fetches = [e for e in effects if isinstance(e, do.FetchFromRegistry)]
    assert len(fetches) == DEFAULT.registry_fetches


def test_a_lease_that_nobody_asked_for_is_declined_by_who_has_no_hand_free() -> None:
    script = leased(0, 1)
    script.hear("a", LeaseGranted(TAG, 1, 1))
    effects = script.hear("a", LeaseGranted(TAG, 2, 1))
    assert orders(effects) == []
    assert endings(effects) == [(2, 0, DECLINED)]


def test_a_lease_that_nobody_asked_for_is_taken_by_who_is_stuck() -> None:
    script = leased(0, 1)
    script.hear("a", LeaseGranted(TAG, 1, 1))
    script.wait(DEFAULT.lease_patience_s + 0.1)
    assert orders(script.hear("a", LeaseGranted(TAG, 2, 1))) == [do.FetchFromRegistry(TAG, 2, 1)]


def test_a_fetch_of_which_every_piece_came_from_peers_is_stopped() -> None:
    script = leased(0, 2)
    script.hear("b", Join(SPEC, 0b11))
    script.tell(piece(0, B))
    assert do.StopRegistryFetch(TAG, 0) in script.tell(piece(1, B))
    assert endings(script.tell(on.RegistryEnded(TAG, 0))) == [(0, 0, DECLINED)]


def test_an_end_of_what_was_not_begun_is_nothing() -> None:
    script = connected()
    assert script.tell(on.RegistryEnded(TAG, 5)) == []
    assert script.tell(on.RegistryEnded(blob(name="other").tag, 0)) == []


# --- when nothing comes -----------------------------------------------------------------------


def gave_up(effects: list[do.Effect]) -> bool:
    return any(isinstance(effect, do.GiveUp) for effect in effects)


def test_the_tracker_hears_of_a_piece_that_does_not_come() -> None:
    script = connected()
    script.hear("a", LeaseNone(TAG))
    stuck = [m for m in said(script.wait(3.2), to="a") if isinstance(m, LeaseWanted)]
    assert stuck == [LeaseWanted(TAG, stuck_piece=0)]


def test_a_blob_is_not_stuck_while_the_neighbour_it_waits_for_sends_another() -> None:
    # On a slow link a piece can take its turn for longer than a lease's patience.
    script = connected()
    other = blob(pieces=40, name="other")
    script.tell(on.BlobWanted(other))
    script.hear("b", Join(SPEC, 0b1), Join(other, (1 << 40) - 1))
    effects: list[do.Effect] = []
    for number in range(10):
        effects += script.wait(0.5)
        effects += script.tell(on.PieceProgressed(other.tag, number, B))
    assert not [m for m in said(effects) if isinstance(m, LeaseWanted) and m.stuck_piece >= 0]
    effects = script.wait(2.0)
    assert LeaseWanted(TAG, stuck_piece=0) in said(effects), "but not for ever"


def test_a_blob_that_others_are_at_work_on_is_waited_for_longer() -> None:
    script = connected()
    script.hear("b", Join(SPEC, 0))
    for _ in range(30):
        script.hear("a", LeaseNone(TAG))
        assert not gave_up(script.wait(1.0))
    script.hear("a", LeaseNone(TAG))
    assert gave_up(script.wait(10.0))


def test_without_a_word_from_the_tracker_the_registry_is_asked_without_a_lease() -> None:
    script = connected()
    effects = script.wait(7.0)
    assert do.FetchFromRegistry(TAG, 0, 1) in effects
    assert Announce in [type(m) for m in said(effects, to="b")], "the next is to track"
    assert endings(script.tell(piece(0), on.RegistryEnded(TAG, 0))) == []


def waits(script: Script, *, most_s: float = 20.0) -> tuple[float, float]:
    """Let the tracker refuse all leases; return when it is told of that, and when another asked."""
    told_s = asked_s = -1.0
    for tenths in range(int(10 * most_s)):
        effects = script.wait(0.1)
        for message in said(effects, to="a"):
            if isinstance(message, LeaseWanted):
                script.hear("a", LeaseNone(TAG))
                told_s = tenths / 10 if told_s < 0 and message.stuck_piece >= 0 else told_s
        if asked_s < 0 and LeaseWanted(TAG) in said(effects, to="b"):
            asked_s = tenths / 10
    return told_s, asked_s


def test_a_tracker_that_leads_nowhere_is_told_and_then_done_without() -> None:
    script = connected()
    script.hear("a", LeaseNone(TAG))
    told_s, asked_s = waits(script, most_s=5.0)
    assert 1.5 < told_s < asked_s < 3.5


def test_a_tracker_that_leads_only_to_who_sends_nothing_is_done_without_too() -> None:
    script = connected()
    script.hear("a", LeaseNone(TAG))
    script.hear("b", Join(SPEC, 0xFF))
    _, asked_s = waits(script, most_s=5.0)
    assert 0 < asked_s < 4.5


def test_a_tracker_is_not_done_without_while_a_neighbour_may_be_at_work() -> None:
    script = connected()
    script.hear("a", LeaseNone(TAG))
    script.hear("b", Join(SPEC, 0))
    _, asked_s = waits(script, most_s=10.0)
    assert asked_s < 0


def test_a_tracker_that_is_done_without_is_not_gone_back_to() -> None:
    script = connected()
    script.hear("a", LeaseNone(TAG))
    waits(script, most_s=5.0)
    effects = script.tell(on.PeerLost(B), on.PeerLost(A)) + script.connect("a")
    effects += script.wait(DEFAULT.takeover_grace_s + 0.2)
    assert said(effects, to="a") == []
    assert [e for e in effects if isinstance(e, do.FetchFromRegistry)], "this node is the next"


def test_a_blob_without_any_progress_is_given_up_in_time_for_the_client_to_ask_elsewhere() -> None:
    script = connected()
    script.hear("b", Join(SPEC, 0))
    script.wait(5.0)
    script.hear("a", LeaseGranted(TAG, 0, 1))  # and the registry says nothing
    assert gave_up(script.wait(DEFAULT.give_up_s - 5.0 + 0.3))
    assert not gave_up(script.wait(30.0)), "readers are told once"


def test_a_registry_that_keeps_failing_is_told_within_seconds() -> None:
    script = Script("me")
    effects = script.tell(on.BlobWanted(SPEC))
    began_s = script.now_s
    while not gave_up(effects):
        fetches = [effect for effect in effects if isinstance(effect, do.FetchFromRegistry)]
        effects = script.tell(*(on.RegistryEnded(TAG, fetch.first, FAULT) for fetch in fetches))
        effects += script.wait(0.1)
    assert 0.5 < script.now_s - began_s < 3.0


def test_pieces_that_came_between_failures_keep_a_blob_alive() -> None:
    script = Script("me")
    script.tell(on.BlobWanted(SPEC))
    for number in range(7):
        assert not gave_up(script.tell(piece(number, REGISTRY)))
        assert not gave_up(script.tell(on.RegistryEnded(TAG, number, FAULT)))
        script.wait(1.0)


def test_a_failing_registry_is_no_matter_while_a_neighbour_has_what_is_missing() -> None:
    script = connected()
    script.hear("b", Join(SPEC, 0xFF))
    for _ in range(5):
        script.hear("a", LeaseGranted(TAG, 7, 1))
        assert not gave_up(script.tell(on.RegistryEnded(TAG, 7, FAULT)))
        script.tell(on.PieceProgressed(TAG, 0, B))


# --- when the registry denies -----------------------------------------------------------------


def denied() -> Script:
    script = leased(0, 1)
    assert endings(script.tell(on.RegistryEnded(TAG, 0, RegistryFault.DENIED))) == [(0, 0, DENIED)]
    return script


def test_a_denied_node_asks_for_no_lease_and_waits_for_its_peers() -> None:
    script = denied()
    for number in range(8):
        assert LeaseWanted(TAG) not in said(script.wait(2.0), to="a")
        effects = script.tell(piece(number, B))
        assert not gave_up(effects)


def test_a_denied_node_waits_while_its_tracker_says_that_others_are_at_work() -> None:
    script = denied()
    for _ in range(8):
        script.hear("a", LeaseNone(TAG))
        assert not gave_up(script.wait(1.0))
    script.hear("a", LeaseNone(TAG))
    assert gave_up(script.wait(1.5)), "and no longer than others do"


def test_a_denied_node_for_which_nobody_works_gives_up_soon() -> None:
    # So that its client authenticates anew.
    assert gave_up(denied().wait(5.0))


def test_a_denied_node_never_goes_to_the_registry_without_a_lease() -> None:
    effects = denied().wait(20.0)
    assert not any(isinstance(effect, do.FetchFromRegistry) for effect in effects)


def test_a_lone_node_that_is_denied_gives_up_at_once() -> None:
    script = Script("me")
    script.tell(on.BlobWanted(SPEC))
    assert not gave_up(script.tell(on.RegistryEnded(TAG, 0, RegistryFault.DENIED)))
    assert gave_up(script.tell(on.RegistryEnded(TAG, 1, RegistryFault.DENIED)))


def test_a_client_with_a_new_credential_begins_anew() -> None:
    script = Script("me")
    script.tell(on.BlobWanted(SPEC))
    script.tell(on.RegistryEnded(TAG, 0, RegistryFault.DENIED))
    script.tell(on.BlobDropped(TAG))
    assert do.FetchFromRegistry(TAG, 0, 1) in script.tell(on.BlobWanted(SPEC))


# --- without peers ----------------------------------------------------------------------------


def test_a_blob_for_which_no_peer_is_believed_comes_from_the_registry_alone() -> None:
    script = Script("me", "a", "b")
    script.connect("a", "b")
    long_run = replace(DEFAULT).lease_bytes_most // SPEC.piece_bytes
    assert script.tell(on.BlobWanted(SPEC, 0, alone=True)) == [
        do.FetchFromRegistry(TAG, 0, min(8, long_run))
    ]


def test_a_blob_that_nobody_reads_is_fetched_for_a_while_and_no_longer() -> None:
    script = connected()
    script.tell(on.BlobReleased(TAG))
    assert not script.swarm.abandoned(TAG)
    script.tell(on.Ticked(), after_s=DEFAULT.released_s + 1)
    assert script.swarm.abandoned(TAG)
    assert endings(script.hear("a", LeaseGranted(TAG, 0, 1))) == [(0, 0, DECLINED)]
    script.tell(on.BlobWanted(SPEC))
    assert not script.swarm.abandoned(TAG)


def test_an_introduction_by_another_than_the_tracker_is_not_believed() -> None:
    script = Script("me", "a", "b", "c")
    script.connect("a", "b")
    spec = blob_tracked_by("a", "b", "c", "me")
    script.tell(on.BlobWanted(spec))
    assert script.hear("b", Introduce(spec.tag, (PeerId("c"),))) == []
    assert script.hear("a", Introduce(spec.tag, (PeerId("c"),))) == [do.Connect(PeerId("c"))]


def test_a_fetch_that_hangs_does_not_keep_other_blobs_from_the_registry() -> None:
    hanging, other = blob(pieces=4, name="hanging"), blob(pieces=4, name="other")
    script = Script("me")
    begun = script.tell(on.BlobWanted(hanging), on.BlobWanted(other))
    assert {o.tag for o in begun if isinstance(o, do.FetchFromRegistry)} == {hanging.tag}
    later = script.wait(DEFAULT.registry_stall_s + 0.3)
    assert other.tag in {o.tag for o in later if isinstance(o, do.FetchFromRegistry)}


def test_a_blob_that_other_blobs_leave_no_hand_for_awaits_its_turn() -> None:
    first, second, third = (blob(pieces=4, name=name) for name in ("one", "two", "three"))
    script = Script("me")
    script.tell(on.BlobWanted(first), on.BlobWanted(second), on.BlobWanted(third))
    assert script.swarm.awaits_turn(third.tag, within_s=1.0)
    assert not script.swarm.awaits_turn(first.tag, within_s=1.0)


def hanging(script: Script, *specs: BlobSpec) -> None:
    """Let fetches of these blobs begin, and hang until they no longer count."""
    for spec in specs:
        script.hear("a", LeaseGranted(spec.tag, 0, 1))
    script.wait(DEFAULT.registry_stall_s + 0.2)


def test_fetches_that_hang_do_not_keep_a_node_from_a_lease_that_it_is_offered() -> None:
    stuck = [blob_tracked_by("a", "b", "me", name=name) for name in ("one", "two")]
    script = connected()
    script.hear("a", LeaseNone(TAG))
    script.tell(*map(on.BlobWanted, stuck))
    hanging(script, *stuck)
    assert do.FetchFromRegistry(TAG, 0, 1) in script.hear("a", LeaseGranted(TAG, 0, 1))


def test_who_declines_for_want_of_a_hand_asks_as_soon_as_one_is_free() -> None:
    other = blob_tracked_by("a", "b", "me", name="other")
    script = connected()
    script.hear("a", LeaseNone(TAG))
    script.tell(on.BlobWanted(other))
    for first in range(DEFAULT.registry_fetches):
        script.hear("a", LeaseGranted(other.tag, first, 1))
    assert endings(script.hear("a", LeaseGranted(TAG, 0, 1))) == [(0, 0, DECLINED)]
    effects = script.tell(on.PieceStored(other.tag, 0, REGISTRY), on.RegistryEnded(other.tag, 0))
    effects += script.tell(on.PieceStored(other.tag, 1, REGISTRY), on.RegistryEnded(other.tag, 1))
    assert LeaseWanted(TAG) in said(effects, to="a")


def exchanged(script: Script, grant: LeaseGranted, *, most: int = 1000) -> int:
    """Let the tracker answer each end of a lease, and each wish for one, by the same lease."""
    count, answers = 0, said(script.hear("a", grant), to="a")
    while answers and count < most:
        count += 1
        again = [m for m in answers if isinstance(m, LeaseEnded | LeaseWanted)]
        answers = [a for _ in again for a in said(script.hear("a", grant), to="a")]
    return count


@pytest.mark.parametrize("held", [0, 0b11])
def test_leases_that_are_of_no_use_are_not_answered_without_an_end(held: int) -> None:
    script = connected(held=held)
    if not held:
        script.hear("a", LeaseGranted(TAG, 0, 2))
    assert exchanged(script, LeaseGranted(TAG, 0, 2)) < 50
    script.wait(0.5)
    assert exchanged(script, LeaseGranted(TAG, 0, 2)) < 50, "nor a moment later"


def test_leases_of_a_blob_that_is_not_wanted_are_not_answered_without_an_end() -> None:
    script = connected()
    assert exchanged(script, LeaseGranted(blob(name="other").tag, 0, 2)) < 50


def test_a_node_that_is_its_own_tracker_and_whose_registry_hangs_comes_to_an_end() -> None:
    # The lease lapses while its fetch hangs, is granted anew, and declined: at once, each time.
    script = Script("me")
    script.tell(on.BlobWanted(SPEC))
    effects = script.wait(4.0)
    assert len([e for e in effects if isinstance(e, do.FetchFromRegistry)]) <= 4


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
