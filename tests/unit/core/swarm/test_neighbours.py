"""What neighbours say to each other about a blob: who is met, and who is served."""

from dataclasses import replace

import pytest

from shoal.core.peer import PeerId
from shoal.core.swarm import effects as do
from shoal.core.swarm import events as on
from shoal.core.swarm.policy import DEFAULT
from shoal.core.wire.messages import (
    Busy,
    Cancel,
    Have,
    Introduce,
    Join,
    Leave,
    Request,
)
from shoal.testing.swarm_script import Script, blob, blob_tracked_by, said
from unit.core.swarm.scripts import ALL, SPEC, TAG, A, B, connected, holding, wanting

# --- neighbours -------------------------------------------------------------------------------


def test_whoever_is_introduced_is_dialed_and_joined() -> None:
    script = Script("me", "a", "b")
    script.connect("a")
    script.tell(on.BlobWanted(SPEC, 0b1))
    assert script.hear("a", Introduce(TAG, (B,))) == [do.Connect(B)]
    assert said(script.connect("b"), to="b") == [Join(SPEC, 0b1)]


def test_whoever_is_introduced_and_connected_is_joined_at_once() -> None:
    assert said(wanting().hear("a", Introduce(TAG, (B,))), to="b") == [Join(SPEC, 0)]


def test_a_node_is_not_its_own_neighbour_nor_are_strangers() -> None:
    script = wanting()
    assert script.hear("a", Introduce(TAG, (PeerId("me"), PeerId("stranger")))) == []


def test_an_introduction_of_a_peer_that_failed_lately_is_let_pass() -> None:
    script = Script("me", "a", "b")
    script.connect("a")
    script.tell(on.BlobWanted(SPEC), on.PeerLost(B))
    assert script.hear("a", Introduce(TAG, (B,))) == []


def test_no_more_neighbours_are_sought_than_are_of_use() -> None:
    names = [f"p{number:02}" for number in range(40)]
    script = Script("me", "a", *names)
    script.connect("a")
    spec = blob_tracked_by("a", "me")
    while script.swarm.site.tracker_of(spec.tag) != A:
        spec = blob(name=spec.digest.hex)
    script.tell(on.BlobWanted(spec))
    effects = script.hear("a", Introduce(spec.tag, tuple(map(PeerId, names))))
    assert len([e for e in effects if isinstance(e, do.Connect)]) == DEFAULT.neighbours


def test_a_join_is_answered_with_what_is_here() -> None:
    assert said(wanting(0b1).hear("b", Join(SPEC, 0b1)), to="b") == [Join(SPEC, 0b1)]


def test_a_join_that_answers_ours_is_not_answered_again() -> None:
    script = wanting()
    script.hear("a", Introduce(TAG, (B,)))
    assert said(script.hear("b", Join(SPEC, 0)), to="b") == []


def test_a_join_for_what_is_neither_wanted_nor_here_is_declined() -> None:
    assert said(connected().hear("b", Join(SPEC, 0))) == [Leave(TAG)]


def test_a_join_for_a_blob_that_is_held_whole_is_welcome() -> None:
    assert said(holding().hear("b", Join(SPEC, 0))) == [Join(SPEC, ALL)]


def test_more_neighbours_than_can_be_served_are_declined() -> None:
    names = [f"p{number:02}" for number in range(DEFAULT.neighbours_most + 1)]
    script = Script("me", *names)
    script.connect(*names)
    script.tell(on.BlobStored(SPEC))
    answers = [said(script.hear(name, Join(SPEC, 0)), to=name) for name in names]
    assert answers[:-1] == [[Join(SPEC, ALL)]] * DEFAULT.neighbours_most
    assert answers[-1] == [Leave(TAG)]


def test_a_blob_for_which_no_peer_is_believed_is_exchanged_with_none() -> None:
    script = connected()
    script.tell(on.BlobWanted(SPEC, 0, alone=True))
    assert said(script.hear("b", Join(SPEC, ALL))) == [Leave(TAG)]


# --- pieces out -------------------------------------------------------------------------------


def test_a_neighbour_that_asks_is_served() -> None:
    script = holding()
    script.hear("b", Join(SPEC, 0))
    assert script.hear("b", Request(TAG, 3)) == [do.SendPiece(B, TAG, 3)]


def test_further_requests_wait_until_a_slot_is_free() -> None:
    script = holding()
    script.hear("b", Join(SPEC, 0))
    for piece in range(DEFAULT.uploads_at_once):
        assert script.hear("b", Request(TAG, piece)) == [do.SendPiece(B, TAG, piece)]
    assert script.hear("b", Request(TAG, 6)) == []
    assert script.tell(on.UploadEnded(B, TAG, 0)) == [do.SendPiece(B, TAG, 6)]


def test_a_cancelled_request_is_not_served() -> None:
    script = holding()
    script.hear("b", Join(SPEC, 0))
    slots = DEFAULT.uploads_at_once
    script.hear("b", *(Request(TAG, piece) for piece in range(slots + 2)))
    script.hear("b", Cancel(TAG, slots))
    assert script.tell(on.UploadEnded(B, TAG, 0)) == [do.SendPiece(B, TAG, slots + 1)]


def test_the_slots_of_a_lost_peer_go_to_others() -> None:
    script = holding()
    script.hear("a", Join(SPEC, 0))
    script.hear("b", Join(SPEC, 0))
    script.hear("b", *(Request(TAG, piece) for piece in range(DEFAULT.uploads_at_once + 1)))
    script.hear("a", Request(TAG, 6))
    assert do.SendPiece(A, TAG, 6) in script.tell(on.PeerLost(B))


@pytest.mark.parametrize("piece", [2, 8, 2**32 - 1])
def test_a_request_for_what_is_not_here_is_answered_busy(piece: int) -> None:
    script = wanting(0b011)
    script.hear("b", Join(SPEC, 0))
    assert said(script.hear("b", Request(TAG, piece)), to="b") == [Busy(TAG, piece)]


def test_a_request_by_who_has_not_joined_is_answered_busy() -> None:
    assert said(holding().hear("b", Request(TAG, 0))) == [Busy(TAG, 0)]
    other = blob(name="other").tag
    assert said(holding().hear("b", Request(other, 0))) == [Busy(other, 0)]


def test_who_has_gained_least_for_its_time_is_served_first_and_not_who_began_last() -> None:
    script = Script("me", "a", "b", policy=replace(DEFAULT, uploads_at_once=1))
    script.connect("a", "b")
    script.tell(on.BlobStored(SPEC))
    script.hear("a", Join(SPEC, 0))
    script.hear("a", Have(TAG, (0, 1)), after_s=10.0)
    script.hear("b", Join(SPEC, 0))
    script.hear("b", Have(TAG, (0,)), after_s=0.5)
    script.hear("b", Request(TAG, 5), Request(TAG, 6))
    script.hear("a", Request(TAG, 7))
    assert do.SendPiece(A, TAG, 7) in script.tell(on.UploadEnded(B, TAG, 5))
