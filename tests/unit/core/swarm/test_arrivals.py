"""Pieces on their way in: of whom they are asked, and who is believed."""

from shoal.core import bitmap
from shoal.core.blob import BlobTag
from shoal.core.peer import PeerId
from shoal.core.swarm import effects as do
from shoal.core.swarm import events as on
from shoal.core.swarm.events import REGISTRY
from shoal.core.swarm.patience import DISBELIEF_PATIENCE
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
    LeaseNone,
    LeaseWanted,
    Leave,
    Request,
    Suspects,
)
from shoal.testing.swarm_script import Script, blob, blob_tracked_by, orders, said
from unit.core.swarm.scripts import ALL, SPEC, TAG, A, B, C, connected, requested, wanting

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
    assert len(requested(effects, to="b")) == min(
        DEFAULT.requests_per_neighbour, DEFAULT.requests_least - DEFAULT.requests_per_neighbour
    )
    assert all(m.tag == second.tag for m in said(effects) if isinstance(m, Request))


# --- a blob that was wrong --------------------------------------------------------------------


def rejecting(*, after: str = "", sender: str = "b") -> Script:
    """A node that got the whole blob from a neighbour which claims it whole, and rejected it."""
    script = Script("me", "a", "b", "c")
    script.connect("a", "b", "c")
    script.tell(on.BlobWanted(SPEC))
    script.hear("b", Join(SPEC, ALL))
    script.hear("c", Join(SPEC, 0b1))
    script.tell(*(on.PieceStored(TAG, piece, PeerId(sender)) for piece in range(8)))
    if after:
        script.hear(after, Leave(TAG))
    script.tell(on.BlobRejected(TAG))
    return script


def test_nothing_is_taken_of_a_wrong_blob_from_those_it_was_exchanged_with() -> None:
    script = rejecting()
    script.tell(on.BlobWanted(SPEC))
    assert script.hear("a", Introduce(TAG, (B, C))) == []
    effects = script.hear("b", Join(SPEC, ALL)) + script.hear("c", Have(TAG, (0,)))
    assert Join(SPEC, 0) in said(effects, to="b"), "it may have what is here"
    assert not [m for m in said(effects + script.wait(3.0)) if isinstance(m, Request)]


def test_who_rejected_it_too_is_believed_again() -> None:
    for script in (rejecting(after="c", sender="c"), rejecting(sender="c")):
        script.hear("c", Leave(TAG))
        script.tell(on.BlobWanted(SPEC))
        assert said(script.hear("a", Introduce(TAG, (B, C)))) == [Join(SPEC, 0)]
        assert requested(script.hear("c", Join(SPEC, 0b1)), to="c") == [0]


def test_whoever_left_before_hears_of_the_rejection_too() -> None:
    script = Script("me", "a", "b", "c")
    script.connect("a", "b", "c")
    script.tell(on.BlobWanted(SPEC))
    script.hear("c", Join(SPEC, 0b1))
    script.tell(on.PieceStored(TAG, 0, C))
    script.hear("c", Leave(TAG))
    assert said(script.tell(on.BlobRejected(TAG)), to="c") == [Leave(TAG)]


def test_only_a_sender_that_claimed_the_whole_blob_is_to_blame_for_it() -> None:
    blames = rejecting().swarm.rejections.blames
    assert blames(B, TAG)
    assert not blames(C, TAG)
    blames = rejecting(sender="c").swarm.rejections.blames
    assert not blames(B, TAG), "it sent nothing"
    assert not blames(C, TAG), "it may not have had the time to check"


def test_after_a_wrong_blob_the_tracker_is_told_at_once_that_its_holders_are_of_no_use() -> None:
    script = rejecting()
    script.tell(on.BlobWanted(SPEC))
    script.hear("a", LeaseNone(TAG))
    assert LeaseWanted(TAG, stuck_piece=0) in said(script.wait(0.2), to="a")


def test_what_a_doubted_holder_claims_is_leased_where_this_node_tracks() -> None:
    spec = blob_tracked_by("me", "a", "b", pieces=8)
    script = Script("me", "a", "b")
    script.connect("a", "b")
    script.tell(on.BlobWanted(spec))
    script.hear("b", Announce(spec, ALL, wants=False, peers_sought=0), Join(spec, ALL))
    script.tell(*(on.PieceStored(spec.tag, piece, B) for piece in range(8)))
    script.tell(on.BlobRejected(spec.tag))
    effects = script.hear("a", Announce(spec, 0, wants=True, peers_sought=4))
    assert [m for m in said(effects, to="a") if isinstance(m, LeaseGranted)]


def test_a_blob_that_was_wrong_twice_comes_from_the_registry_alone() -> None:
    script = rejecting()
    script.tell(on.BlobWanted(SPEC), on.PieceStored(TAG, 0, C), on.BlobRejected(TAG))
    assert [type(e) for e in script.tell(on.BlobWanted(SPEC))] == [do.FetchFromRegistry]


def test_a_blob_that_the_registry_sent_wrong_makes_nobody_doubted() -> None:
    script = wanting()
    script.hear("b", Join(SPEC, 0))
    script.tell(on.PieceStored(TAG, 0, REGISTRY), on.BlobRejected(TAG), on.BlobWanted(SPEC))
    assert said(script.hear("a", Introduce(TAG, (B,)))) == [Join(SPEC, 0)]


# --- pieces that somebody vouches for -------------------------------------------------------------

RIGHT, WRONG = b"right", b"wrong"


def vouched(*signers: str, hash_: bytes = RIGHT) -> list[on.PieceStored]:
    """Pieces from b, one for each signer."""
    return [on.PieceStored(TAG, n, B, PeerId(signer), hash_) for n, signer in enumerate(signers)]


def disbelieving(*signers: str) -> Script:
    """A node that found the blob wrong, for whose pieces these signed, and wants it again."""
    script = Script("me", "a", "b", "c", "d")
    script.connect("a", "b", "c", "d")
    script.tell(on.BlobWanted(SPEC))
    script.hear("b", Join(SPEC, ALL))
    script.tell(*vouched(*signers))
    script.tell(on.BlobRejected(TAG))
    script.tell(on.BlobWanted(SPEC))
    return script


def test_who_rejects_a_blob_tells_the_tracker_who_had_signed_for_what_and_then_leaves() -> None:
    script = wanting()
    script.hear("b", Join(SPEC, ALL))
    script.tell(*vouched("b", "c", "b"))
    told = said(script.tell(on.BlobRejected(TAG)), to="a")
    assert told == [Suspects(TAG, ((B, 0b101), (C, 0b010))), Leave(TAG)]


def test_what_one_alone_signed_for_is_taken_from_nobody_and_from_that_one_nothing() -> None:
    script = disbelieving("c", "c")
    believes = script.swarm.arrivals.believes
    assert not believes(TAG, 0, C, RIGHT)
    assert believes(TAG, 0, B, RIGHT)
    assert believes(TAG, 0, None, RIGHT)
    assert believes(BlobTag(bytes(16)), 0, C, RIGHT), "another blob is another matter"
    script.hear("c", Join(SPEC, ALL))
    assert not requested(script.wait(0.3), to="c")


def test_a_piece_that_is_not_believed_is_not_asked_of_its_sender_again_until_it_is() -> None:
    script = disbelieving("a", "b", "c")
    asked = requested(script.hear("d", Join(SPEC, 0b111)), to="d")
    assert sorted(asked) == [0, 1, 2]
    lied = on.PieceDisbelieved(TAG, 0, PeerId("d"), B, WRONG)
    effects = script.tell(lied)
    assert Suspects(TAG, ((B, 0b1),)) in said(effects, to="a")
    assert 0 not in requested([*effects, *script.wait(0.5)], to="d")
    # With c's word for it, it is a who lied, as b had said.
    effects = script.tell(on.PieceDisbelieved(TAG, 0, C, C, WRONG))
    assert script.swarm.arrivals.believes(TAG, 0, B, WRONG)
    assert 0 in requested([*effects, *script.wait(0.3)], to="d")


def test_what_nobody_is_believed_for_is_fetched_though_its_tracker_has_no_lease() -> None:
    script = disbelieving("a", "b", "c")
    script.hear("a", LeaseNone(TAG))
    script.hear("d", Join(SPEC, 0b1))
    effects = script.tell(on.PieceDisbelieved(TAG, 0, PeerId("d"), B, WRONG))
    effects += script.wait(DISBELIEF_PATIENCE * DEFAULT.lease_patience_s + 0.5)
    fetches = [effect for effect in effects if isinstance(effect, do.FetchFromRegistry)]
    assert fetches, "0 is not to be had from d, and a knows nobody to lease it to"
    assert fetches[0].first == 0


def test_whoever_signed_for_other_bytes_than_the_blobs_is_named_and_left_out() -> None:
    script = disbelieving("c", "c", "b")
    for number in range(8):
        script.tell(on.PieceStored(TAG, number, REGISTRY, PeerId("me"), b"as it is"))
    effects = script.tell(on.BlobStored(SPEC))
    named = [effect for effect in effects if isinstance(effect, do.NameSigner)]
    assert named == [do.NameSigner(B, TAG, 0b100), do.NameSigner(C, TAG, 0b011)]
    assert do.Disconnect(C, "vouched for wrong bytes") in effects
    assert not script.swarm.arrivals.believes(SPEC.tag, 0, C, RIGHT)
    assert not script.swarm.arrivals.believes(BlobTag(bytes(16)), 0, C, RIGHT), "of no blob at all"


def test_a_node_that_was_misled_by_its_own_registry_names_itself_and_goes_on() -> None:
    script = disbelieving("me", "b")
    for number in range(8):
        script.tell(on.PieceStored(TAG, number, B, C if number else A, RIGHT + bytes([number])))
    script.swarm.rejections.accounts[TAG].said[1] = {B: RIGHT + bytes([1])}
    effects = script.tell(on.BlobStored(SPEC))
    assert [e for e in effects if isinstance(e, do.NameSigner)] == [
        do.NameSigner(PeerId("me"), TAG, 0b1)
    ]
    assert not any(isinstance(effect, do.Disconnect) for effect in effects)


def test_pieces_that_nobody_vouches_for_any_more_are_kept_from_others_until_all_is_here() -> None:
    script = Script("me", "a", "b")
    script.connect("a", "b")
    effects = script.tell(on.BlobWanted(SPEC, held=0b0111, unvouched=0b0011))
    announced = [m for m in said(effects, to="a") if isinstance(m, Announce)]
    assert [m.held for m in announced] == [0b0100]
    effects = script.hear("b", Join(SPEC, 0b1000))
    assert [m.held for m in said(effects, to="b") if isinstance(m, Join)] == [0b0100]
    assert said(script.hear("b", Request(TAG, 0)), to="b") == [Busy(TAG, 0)]
    assert do.SendPiece(B, TAG, 2) in script.hear("b", Request(TAG, 2))
    for number in range(3, 8):
        script.tell(on.PieceStored(TAG, number, REGISTRY, PeerId("me"), RIGHT))
    effects = [*script.tell(on.BlobStored(SPEC)), *script.wait(0.2)]
    told = [m.pieces for m in said(effects, to="b") if isinstance(m, Have)]
    assert {0, 1} <= {piece for pieces in told for piece in pieces}
    assert do.SendPiece(B, TAG, 0) in script.hear("b", Request(TAG, 0))


def test_nobody_is_doubted_for_a_wrong_blob_of_which_a_restart_lost_who_vouched() -> None:
    script = Script("me", "a", "b")
    script.connect("a", "b")
    script.tell(on.BlobWanted(SPEC, held=0b0011, unvouched=0b0011))
    for number in range(2, 8):
        script.tell(on.PieceStored(TAG, number, B, B, RIGHT))
    script.tell(on.BlobRejected(TAG))
    assert script.swarm.rejections.tells_more(TAG), "the next time all of it is vouched for"
    script.tell(on.BlobWanted(SPEC))
    assert script.swarm.exchanges[TAG].doubted == set()
    assert not script.swarm.exchanges[TAG].misled
