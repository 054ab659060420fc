"""Leases: fetched under, declined, and ended."""

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
    LeaseProgress,
    LeaseWanted,
)
from shoal.testing.swarm_script import Script, blob, blob_tracked_by, orders, said
from unit.core.swarm.scripts import (
    DECLINED,
    DONE,
    FAILED,
    FAULT,
    SPEC,
    TAG,
    A,
    B,
    endings,
    leased,
    piece,
    wanting,
)

LIMITED = RegistryFault.LIMITED
OTHER = blob(pieces=3, name="other")

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


def test_a_registry_that_limits_requests_has_not_failed() -> None:
    script = Script("me")
    script.tell(on.BlobWanted(SPEC))
    for _ in range(5):
        assert script.tell(on.RegistryEnded(TAG, 0, LIMITED)) == []
        script.tell(on.PieceProgressed(TAG, 1, REGISTRY))  # the second hand is at work
        assert script.wait(0.9) == []
        assert do.FetchFromRegistry(TAG, 0, 1) in script.wait(0.3)


def test_a_limit_binds_every_blob_of_its_registry() -> None:
    script = Script("me")
    script.tell(on.BlobWanted(SPEC))
    script.tell(on.RegistryEnded(TAG, 0, LIMITED, retry_after_s=2.0))
    assert script.tell(on.BlobWanted(OTHER)) == []
    elsewhere = BlobSpec("elsewhere.example", OTHER.digest, OTHER.length_bytes)
    assert script.tell(on.BlobWanted(elsewhere)) == [do.FetchFromRegistry(elsewhere.tag, 0, 1)]
    blobs = {order.tag for order in script.wait(2.1) if isinstance(order, do.FetchFromRegistry)}
    assert OTHER.tag in blobs


def test_a_long_pause_of_one_blob_keeps_others_only_for_a_moment() -> None:
    script = Script("me")
    script.tell(on.BlobWanted(SPEC))
    script.tell(on.RegistryEnded(TAG, 0, LIMITED, retry_after_s=3600.0))
    assert script.tell(on.BlobWanted(OTHER)) == []
    blobs = {order.tag for order in script.wait(2.1) if isinstance(order, do.FetchFromRegistry)}
    assert blobs == {OTHER.tag}


def test_a_lease_is_declined_while_the_registry_limits_requests() -> None:
    script = leased()
    effects = script.tell(on.RegistryEnded(TAG, 0, LIMITED))
    (ending,) = [m for m in said(effects) if isinstance(m, LeaseEnded)]
    assert (ending.outcome, ending.retry_after_s) == (FAILED, 1.0)
    effects = script.hear("a", LeaseGranted(TAG, 4, 1))
    assert orders(effects) == []
    assert endings(effects) == [(4, 0, DECLINED)]


def test_a_lease_of_what_came_meanwhile_ends_at_once() -> None:
    script = wanting(held=0b11)
    effects = script.hear("a", LeaseGranted(TAG, 0, 2))
    assert orders(effects) == []
    assert endings(effects) == [(0, 2, DONE)]


def test_a_lease_is_declined_by_who_wants_nothing_any_more() -> None:
    script = wanting()
    script.tell(on.BlobDropped(TAG))
    assert endings(script.hear("a", LeaseGranted(TAG, 0, 2))) == [(0, 0, DECLINED)]


def test_a_lease_by_another_than_the_tracker_is_declined() -> None:
    effects = wanting().hear("b", LeaseGranted(TAG, 0, 2))
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
    script = wanting()
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
    script = wanting()
    assert script.tell(on.RegistryEnded(TAG, 5)) == []
    assert script.tell(on.RegistryEnded(blob(name="other").tag, 0)) == []


# --- without peers ----------------------------------------------------------------------------


def test_a_blob_for_which_no_peer_is_believed_comes_from_the_registry_alone() -> None:
    script = Script("me", "a", "b")
    script.connect("a", "b")
    long_run = replace(DEFAULT).lease_bytes_most // SPEC.piece_bytes
    assert script.tell(on.BlobWanted(SPEC, 0, alone=True)) == [
        do.FetchFromRegistry(TAG, 0, min(8, long_run))
    ]


def test_a_blob_that_nobody_reads_is_fetched_for_a_while_and_no_longer() -> None:
    script = wanting()
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


@pytest.mark.parametrize("has_it", [True, False])
def test_a_blob_awaits_others_requests_only_where_a_neighbour_has_it(*, has_it: bool) -> None:
    busy = blob_tracked_by("a", "b", "c", "me", name="busy", pieces=64)
    wanted = blob_tracked_by("a", "b", "c", "me", name="wanted")
    script = Script("me", "a", "b", "c")
    script.connect("a", "b", "c")
    script.tell(on.BlobWanted(busy))
    for peer in "bc":  # they take all requests that may be out
        script.hear(peer, Join(busy, (1 << 64) - 1))
    script.tell(on.BlobWanted(wanted))
    script.hear("b", Join(wanted, int(has_it)))
    script.hear("a", LeaseNone(busy.tag), LeaseNone(wanted.tag))
    script.wait(0.6)
    assert script.swarm.awaits_turn(wanted.tag, within_s=0.3) is has_it


def hanging(script: Script, *specs: BlobSpec) -> None:
    """Let fetches of these blobs begin, and hang until they no longer count."""
    for spec in specs:
        script.hear("a", LeaseGranted(spec.tag, 0, 1))
    script.wait(DEFAULT.registry_stall_s + 0.2)


def test_fetches_that_hang_do_not_keep_a_node_from_a_lease_that_it_is_offered() -> None:
    stuck = [blob_tracked_by("a", "b", "me", name=name) for name in ("one", "two")]
    script = wanting()
    script.hear("a", LeaseNone(TAG))
    script.tell(*map(on.BlobWanted, stuck))
    hanging(script, *stuck)
    assert do.FetchFromRegistry(TAG, 0, 1) in script.hear("a", LeaseGranted(TAG, 0, 1))


def test_who_declines_for_want_of_a_hand_asks_as_soon_as_one_is_free() -> None:
    other = blob_tracked_by("a", "b", "me", name="other")
    script = wanting()
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
    script = wanting(held=held)
    if not held:
        script.hear("a", LeaseGranted(TAG, 0, 2))
    assert exchanged(script, LeaseGranted(TAG, 0, 2)) < 50
    script.wait(0.5)
    assert exchanged(script, LeaseGranted(TAG, 0, 2)) < 50, "nor a moment later"


def test_leases_of_a_blob_that_is_not_wanted_are_not_answered_without_an_end() -> None:
    script = wanting()
    assert exchanged(script, LeaseGranted(blob(name="other").tag, 0, 2)) < 50


def test_a_node_that_is_its_own_tracker_and_whose_registry_hangs_comes_to_an_end() -> None:
    # The lease lapses while its fetch hangs, is granted anew, and declined: at once, each time.
    script = Script("me")
    script.tell(on.BlobWanted(SPEC))
    effects = script.wait(4.0)
    assert len([e for e in effects if isinstance(e, do.FetchFromRegistry)]) <= 4
