"""Pieces on their way in: of whom they are asked, and who is believed."""

from shoal.core import bitmap
from shoal.core.swarm import effects as do
from shoal.core.swarm import events as on
from shoal.core.swarm.events import REGISTRY
from shoal.core.swarm.policy import DEFAULT
from shoal.core.swarm.suspicion import SPOILED_MOST
from shoal.core.wire.messages import (
    Announce,
    Busy,
    Cancel,
    Have,
    Introduce,
    Join,
    LeaseGranted,
    Leave,
    Request,
)
from shoal.testing.swarm_script import Script, blob, orders, said
from unit.core.swarm.scripts import ALL, SPEC, TAG, B, C, connected, requested, wanting

# --- pieces in --------------------------------------------------------------------------------


def test_what_a_neighbour_has_is_asked_for() -> None:
    effects = wanting().hear("b", Join(SPEC, 0b11))
    assert sorted(requested(effects, to="b")) == [0, 1]


def test_what_a_neighbour_gets_is_asked_for() -> None:
    script = wanting()
    script.hear("b", Join(SPEC, 0))
    assert requested(script.hear("b", Have(TAG, (3,))), to="b") == [3]


def test_a_piece_that_came_is_told_to_those_who_lack_it() -> None:
    script = Script("me", "a", "b", "c")
    script.connect("a", "b", "c")
    script.tell(on.BlobWanted(SPEC))
    script.hear("b", Join(SPEC, 0b1))
    script.hear("c", Join(SPEC, 0))
    effects = script.tell(on.PieceStored(TAG, 0, B))
    assert [m for m in said(effects, to="c") if isinstance(m, Have)] == [Have(TAG, (0,))]
    assert not [m for m in said(effects, to="b") if isinstance(m, Have)]


def test_pieces_that_come_quickly_are_told_together_and_none_is_forgotten() -> None:
    script = wanting()
    script.hear("b", Join(SPEC, 0))
    effects = script.tell(*(on.PieceStored(TAG, piece, REGISTRY) for piece in range(8)))
    assert script.swarm.tick_s == DEFAULT.have_interval_s
    effects += script.tell(on.Ticked(), after_s=script.swarm.tick_s)
    told = [m.pieces for m in said(effects, to="b") if isinstance(m, Have)]
    assert told == [(0,), tuple(range(1, 8))]


def test_a_piece_that_is_asked_of_two_is_cancelled_at_the_slower() -> None:
    script = Script("me", "a", "b", "c")
    script.connect("a", "b", "c")
    script.tell(on.BlobWanted(SPEC))
    script.hear("b", Join(SPEC, 0b1))
    script.hear("c", Join(SPEC, 0b1))
    effects = script.wait(DEFAULT.hedge_s + 0.2)
    slow, quick = (B, C) if requested(effects, to="c") else (C, B)
    assert requested(effects, to=quick) == [0]
    effects = script.tell(on.PieceProgressed(TAG, 0, quick))
    assert said(effects, to=slow) == [Cancel(TAG, 0)]


def test_a_busy_neighbour_is_asked_again_a_little_later() -> None:
    script = wanting()
    script.hear("b", Join(SPEC, 0b1))
    assert requested(script.hear("b", Busy(TAG, 0)), to="b") == []
    assert requested(script.wait(0.3), to="b") == [0]


def test_a_piece_that_did_not_become_whole_is_asked_for_again() -> None:
    script = wanting()
    script.hear("b", Join(SPEC, 0b1))
    script.tell(on.PieceSpoiled(TAG, 0, B))
    assert requested(script.wait(DEFAULT.stall_s + 0.2), to="b") == [0]


def test_a_neighbour_that_keeps_sending_wrong_bytes_is_left_out() -> None:
    script = wanting()
    script.hear("b", Join(SPEC, ALL))
    for piece in range(SPOILED_MOST - 1):
        assert orders(script.tell(on.PieceSpoiled(TAG, piece, B, wrong=True))) == []
    (order,) = orders(script.tell(on.PieceSpoiled(TAG, 7, B, wrong=True)))
    assert isinstance(order, do.Disconnect)
    script.tell(on.PeerLost(B))
    (order,) = script.connect("b")
    assert isinstance(order, do.Disconnect), "however often it dials"
    assert script.hear("a", Introduce(TAG, (B,))) == []


def test_what_a_peer_has_that_is_left_out_is_leased_to_others() -> None:
    script = Script("me", "a", "b")
    script.connect("a", "b")
    script.hear("b", Announce(SPEC, ALL, wants=False, peers_sought=0))
    assert said(script.hear("a", Announce(SPEC, 0, wants=True, peers_sought=0))) == []
    script.tell(on.PeerLied(B))
    assert said(script.tell(on.PeerLost(B)), to="a") == [LeaseGranted(TAG, 0, 1)]


def test_a_piece_that_was_cut_is_nobodys_lie() -> None:
    script = wanting()
    script.hear("b", Join(SPEC, ALL))
    for _ in range(10):
        assert orders(script.tell(on.PieceSpoiled(TAG, 0, B))) == []


def test_a_peer_whose_lie_was_found_out_later_is_left_out() -> None:
    (order,) = orders(connected().tell(on.PeerLied(B)))
    assert isinstance(order, do.Disconnect)
    assert order.peer == B


def test_what_a_lost_neighbour_was_asked_for_is_asked_of_another() -> None:
    script = Script("me", "a", "b", "c")
    script.connect("a", "b", "c")
    script.tell(on.BlobWanted(SPEC))
    script.hear("b", Join(SPEC, 0b1))
    script.hear("c", Join(SPEC, 0b1))
    first = B if 0 in script.swarm.exchanges[TAG].neighbours[B].asked else C
    other = C if first == B else B
    assert requested(script.tell(on.PeerLost(first)), to=other) == [0]


def test_a_neighbour_that_leaves_is_asked_for_nothing_more() -> None:
    script = wanting()
    script.hear("b", Join(SPEC, 0b1))
    script.hear("b", Leave(TAG))
    assert requested(script.hear("b", Have(TAG, (1,))) + script.wait(3.0), to="b") == []


def test_blobs_are_fetched_in_the_order_in_which_they_were_wanted() -> None:
    script = connected()
    first, second = blob(pieces=20, name="first"), blob(pieces=20, name="second")
    script.tell(on.BlobWanted(first), on.BlobWanted(second))
    script.hear("b", Join(second, 0))
    script.hear("b", Join(first, bitmap.full(20)))
    effects = script.hear("b", Have(second.tag, tuple(range(20))))
    assert len(requested(effects, to="b")) == DEFAULT.requests_least - 3
    assert all(m.tag == second.tag for m in said(effects) if isinstance(m, Request))
