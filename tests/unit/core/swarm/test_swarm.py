"""The swarm of one node: what it does about each event, and that nothing harms it."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from shoal.core import bitmap
from shoal.core.peer import PeerId
from shoal.core.swarm import effects as do
from shoal.core.swarm import events as on
from shoal.core.swarm.events import REGISTRY, RegistryFault
from shoal.core.swarm.policy import DEFAULT
from shoal.core.swarm.suspicion import SPOILED_MOST
from shoal.core.wire.messages import (
    Announce,
    Busy,
    Cancel,
    Have,
    Introduce,
    Join,
    LeaseEnded,
    LeaseGranted,
    LeaseNone,
    LeaseOutcome,
    LeaseProgress,
    LeaseWanted,
    Leave,
    Message,
    Ping,
    Request,
)
from shoal.testing.swarm_script import Script, blob, blob_tracked_by, orders, said

A, B, C = (PeerId(name) for name in "abc")
SPEC = blob_tracked_by("a", "b", "me", pieces=8)
TAG = SPEC.tag
ALL = bitmap.full(8)


def connected() -> Script:
    """A node connected to a, which tracks, and to b; nothing is wanted yet."""
    script = Script("me", "a", "b")
    script.connect("a", "b")
    return script


def wanting(held: int = 0, *, policy_seed: int = 1) -> Script:
    script = Script("me", "a", "b", seed=policy_seed)
    script.connect("a", "b")
    script.tell(on.BlobWanted(SPEC, held))
    return script


def holding() -> Script:
    script = connected()
    script.tell(on.BlobStored(SPEC))
    return script


def requested(effects: list[do.Effect], *, to: str) -> list[int]:
    return [m.piece for m in said(effects, to=to) if isinstance(m, Request)]


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
    script.hear("b", *(Request(TAG, piece) for piece in range(5)))
    script.hear("b", Cancel(TAG, 3))
    assert script.tell(on.UploadEnded(B, TAG, 0)) == [do.SendPiece(B, TAG, 4)]


def test_the_slots_of_a_lost_peer_go_to_others() -> None:
    script = holding()
    script.hear("a", Join(SPEC, 0))
    script.hear("b", Join(SPEC, 0))
    script.hear("b", *(Request(TAG, piece) for piece in range(5)))
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


def test_a_dropped_blob_is_left_everywhere() -> None:
    script = wanting()
    script.hear("b", Join(SPEC, 0))
    effects = script.tell(on.BlobDropped(TAG))
    assert said(effects, to="a") == said(effects, to="b") == [Leave(TAG)]
    assert script.swarm.exchanges == {}


def test_what_is_fetched_of_a_dropped_blob_is_stopped() -> None:
    script = wanting()
    script.hear("a", LeaseGranted(TAG, 3, 2))
    assert do.StopRegistryFetch(TAG, 3) in script.tell(on.BlobDropped(TAG))


def test_a_rejected_blob_is_left_everywhere_so_that_nobody_takes_more_of_it() -> None:
    script = wanting()
    script.hear("b", Join(SPEC, 0))
    effects = script.tell(on.BlobRejected(TAG))
    assert said(effects, to="a") == said(effects, to="b") == [Leave(TAG)]


def test_a_blob_that_is_dropped_while_nothing_exchanges_it_is_left_at_its_tracker() -> None:
    assert said(holding().tell(on.BlobDropped(TAG)), to="a") == [Leave(TAG)]


def test_an_exchange_is_forgotten_once_nobody_needs_more_of_it() -> None:
    script = holding()
    script.hear("b", Join(SPEC, 0))
    script.wait(0.5)
    assert TAG in script.swarm.exchanges
    script.hear("b", Have(TAG, tuple(range(8))))
    script.wait(0.5)
    assert TAG not in script.swarm.exchanges


# --- tracking for others ----------------------------------------------------------------------


def test_a_node_tracks_a_blob_that_it_does_not_want() -> None:
    script = connected()
    effects = script.hear("a", Announce(SPEC, 0, wants=True, peers_sought=4))
    assert said(effects, to="a") == [LeaseGranted(TAG, 0, 1)]
    effects = script.hear("b", Announce(SPEC, 0, wants=True, peers_sought=4), LeaseWanted(TAG))
    assert said(effects, to="b") == [Introduce(TAG, (A,)), LeaseGranted(TAG, 1, 1)]
    effects = script.hear("a", LeaseEnded(TAG, 0, 1, LeaseOutcome.DONE), LeaseWanted(TAG))
    assert said(effects, to="a") == [LeaseGranted(TAG, 2, 1)]
    assert orders(effects) == []


def test_the_leases_of_a_lost_peer_go_to_another() -> None:
    script = connected()
    script.hear("a", Announce(SPEC, 0, wants=True, peers_sought=0))
    script.hear("b", Announce(SPEC, 0, wants=True, peers_sought=0))
    (grant,) = said(script.tell(on.PeerLost(A)), to="b")
    assert isinstance(grant, LeaseGranted)
    assert grant.first == 0


def test_who_says_leave_is_no_longer_introduced() -> None:
    script = connected()
    script.hear("a", Announce(SPEC, ALL, wants=False, peers_sought=0))
    script.hear("a", Leave(TAG))
    effects = script.hear("b", Announce(SPEC, 0, wants=True, peers_sought=4))
    assert not [m for m in said(effects) if isinstance(m, Introduce)]


# --- time -------------------------------------------------------------------------------------


def test_a_node_at_rest_ticks_rarely_and_a_busy_one_often() -> None:
    script = connected()
    assert script.swarm.tick_s == 1.0
    script.tell(on.BlobWanted(SPEC))
    assert script.swarm.tick_s == DEFAULT.watch_interval_s


def test_a_blob_that_waits_for_the_others_is_not_taken_for_stuck() -> None:
    # The first has every request that is free; the second has none and shows no progress.
    script = Script("me", "a", "b", policy=replace(DEFAULT, requests_least=2, requests_most=2))
    script.connect("a", "b")
    first, second = blob(pieces=40, name="first"), blob(pieces=4, name="second")
    script.tell(on.BlobWanted(first), on.BlobWanted(second))
    script.hear("b", Join(first, bitmap.full(40)), Join(second, bitmap.full(4)))
    for _ in range(12):
        effects = script.wait(0.5)
        exchange = script.swarm.exchanges[first.tag]
        piece = min(exchange.neighbours[B].asked)
        effects += script.tell(on.PieceStored(first.tag, piece, B))
        stuck = [m for m in said(effects) if isinstance(m, LeaseWanted) and m.stuck_piece >= 0]
        assert stuck == []
        assert not [effect for effect in effects if isinstance(effect, do.GiveUp)]


# --- nothing harms it -------------------------------------------------------------------------

OTHER = blob(name="other").tag
LATE_EVENTS: list[on.Event] = [
    on.PeerLost(A),
    on.PeerLost(PeerId("stranger")),
    on.PeerLost(A, failed=False),
    on.ReaderMoved(OTHER, 3),
    on.BlobReleased(OTHER),
    on.BlobDropped(OTHER),
    on.BlobRejected(OTHER),
    on.PieceProgressed(OTHER, 0, A),
    on.PieceStored(OTHER, 0, A),
    on.PieceSpoiled(OTHER, 0, A, wrong=True),
    on.RegistryEnded(OTHER, 0, RegistryFault.FAILED),
    on.UploadEnded(A, OTHER, 0),
    on.PeerLied(PeerId("stranger")),
    on.Ticked(),
]


@pytest.mark.parametrize("event", LATE_EVENTS, ids=lambda event: type(event).__name__)
def test_an_event_about_what_is_over_is_nothing(event: on.Event) -> None:
    script = Script("me", "a", "b")
    script.tell(event, event)
    assert not [e for e in script.tell(event) if isinstance(e, do.FetchFromRegistry | do.SendPiece)]


TAGS = st.sampled_from((TAG, OTHER))
PIECES = st.sampled_from((0, 1, 7, 8, 2**32 - 1))
RUBBISH: st.SearchStrategy[Message] = st.one_of(
    st.just(Ping()),
    st.builds(Join, st.just(SPEC), st.integers(0, ALL)),
    st.builds(Have, TAGS, st.lists(PIECES, max_size=3).map(tuple)),
    st.builds(Request, TAGS, PIECES),
    st.builds(Cancel, TAGS, PIECES),
    st.builds(Busy, TAGS, PIECES),
    st.builds(Leave, TAGS),
    st.builds(Announce, st.just(SPEC), st.integers(0, ALL), st.booleans(), st.integers(0, 255)),
    st.builds(Introduce, TAGS, st.lists(st.sampled_from((A, B, C)), max_size=3).map(tuple)),
    st.builds(LeaseWanted, TAGS, st.integers(-1, 9)),
    st.builds(LeaseGranted, TAGS, PIECES, PIECES),
    st.builds(LeaseNone, TAGS),
    st.builds(LeaseProgress, TAGS, PIECES, PIECES),
    st.builds(LeaseEnded, TAGS, PIECES, PIECES, st.sampled_from(LeaseOutcome)),
)  # fmt: skip


class AnyOrder(RuleBasedStateMachine):
    """A driver that answers what was ordered, in any order, among peers that say anything."""

    def __init__(self) -> None:
        super().__init__()
        self.script = Script("me", "a", "b", "c")
        self.open: list[do.Effect] = []

    def _do(self, effects: list[do.Effect]) -> None:
        for effect in effects:
            if isinstance(effect, do.Send):
                assert effect.peer in self.script.swarm.site.links, "said to nobody"
            elif isinstance(effect, do.StopRegistryFetch | do.GiveUp | do.Disconnect):
                self._at_once(effect)
            elif isinstance(effect, do.Connect) and effect in self.open:
                pass  # dialed before, and came by itself and went meanwhile
            else:
                assert effect not in self.open, "ordered twice"
                self.open.append(effect)

    def _at_once(self, effect: do.Effect) -> None:
        if isinstance(effect, do.Disconnect):
            self._do(self.script.tell(on.PeerLost(effect.peer)))
        elif isinstance(effect, do.GiveUp):
            self._do(self.script.tell(on.BlobDropped(effect.tag)))
        elif isinstance(effect, do.StopRegistryFetch):
            for fetch in list(self.open):
                if isinstance(fetch, do.FetchFromRegistry) and fetch.first == effect.first:
                    self.open.remove(fetch)
                    self._do(self.script.tell(on.RegistryEnded(effect.tag, effect.first)))

    def _ordered(self, kind: Callable[[do.Effect], bool]) -> list[do.Effect]:
        return [effect for effect in self.open if kind(effect)]

    @rule(held=st.integers(0, ALL), alone=st.booleans())
    def want(self, held: int, alone: bool) -> None:
        """A client wants the blob."""
        if TAG not in self.script.swarm.holds.specs:
            self._do(self.script.tell(on.BlobWanted(SPEC, held, alone)))

    @rule(event=st.sampled_from((on.BlobReleased(TAG), on.BlobDropped(TAG), on.BlobRejected(TAG))))
    def want_no_more(self, event: on.Event) -> None:
        """Nobody reads it, or it is gone."""
        self._do(self.script.tell(event))

    @rule(piece=st.integers(0, 7))
    def read(self, piece: int) -> None:
        """The reader moves."""
        self._do(self.script.tell(on.ReaderMoved(TAG, piece)))

    @rule(peer=st.sampled_from((A, B, C)), message=RUBBISH)
    def hear(self, peer: PeerId, message: Message) -> None:
        """A connected peer says anything at all."""
        if peer in self.script.swarm.site.links:
            self._do(self.script.hear(peer, message))

    @rule(peer=st.sampled_from((A, B, C)))
    def be_dialed(self, peer: PeerId) -> None:
        """A peer connects to this node."""
        if peer not in self.script.swarm.site.links:
            self._do(self.script.connect(peer))

    @rule(peer=st.sampled_from((A, B, C)), failed=st.booleans())
    def lose(self, peer: PeerId, failed: bool) -> None:
        """A connection ends."""
        if peer in self.script.swarm.site.links:
            self._do(self.script.tell(on.PeerLost(peer, failed)))

    @precondition(lambda self: self._ordered(lambda e: isinstance(e, do.Connect)))
    @rule(data=st.data(), answers=st.booleans())
    def dial(self, data: st.DataObject, answers: bool) -> None:
        """A peer that is dialed answers or does not."""
        dials = self._ordered(lambda e: isinstance(e, do.Connect))
        effect = data.draw(st.sampled_from(dials))
        self.open.remove(effect)
        assert isinstance(effect, do.Connect)
        if effect.peer not in self.script.swarm.site.links:
            event = on.PeerConnected(effect.peer) if answers else on.PeerLost(effect.peer)
            self._do(self.script.tell(event))

    @precondition(lambda self: self._ordered(lambda e: isinstance(e, do.SendPiece)))
    @rule(data=st.data())
    def sent(self, data: st.DataObject) -> None:
        """An upload is over."""
        effect = data.draw(st.sampled_from(self._ordered(lambda e: isinstance(e, do.SendPiece))))
        self.open.remove(effect)
        assert isinstance(effect, do.SendPiece)
        self._do(self.script.tell(on.UploadEnded(effect.peer, effect.tag, effect.piece)))

    @precondition(lambda self: self._ordered(lambda e: isinstance(e, do.FetchFromRegistry)))
    @rule(data=st.data(), fault=st.sampled_from((None, *RegistryFault)))
    def fetched(self, data: st.DataObject, fault: RegistryFault | None) -> None:
        """A fetch is over; some or all of its pieces came."""
        effect = data.draw(
            st.sampled_from(self._ordered(lambda e: isinstance(e, do.FetchFromRegistry)))
        )
        self.open.remove(effect)
        assert isinstance(effect, do.FetchFromRegistry)
        came = effect.count if fault is None else data.draw(st.integers(0, effect.count - 1))
        for piece in range(effect.first, effect.first + came):
            self._do(self.script.tell(on.PieceStored(effect.tag, piece, REGISTRY)))
        self._do(self.script.tell(on.RegistryEnded(effect.tag, effect.first, fault)))
        self._store_if_whole()

    @precondition(lambda self: self._asked())
    @rule(data=st.data(), how=st.sampled_from(("bytes", "whole", "cut", "wrong")))
    def answered(self, data: st.DataObject, how: str) -> None:
        """A peer sends what it was asked for, well or not."""
        peer, piece = data.draw(st.sampled_from(self._asked()))
        if how == "bytes":
            self._do(self.script.tell(on.PieceProgressed(TAG, piece, peer)))
        elif how == "whole":
            self._do(self.script.tell(on.PieceStored(TAG, piece, peer)))
            self._store_if_whole()
        else:
            self._do(self.script.tell(on.PieceSpoiled(TAG, piece, peer, how == "wrong")))

    def _asked(self) -> list[tuple[PeerId, int]]:
        exchange = self.script.swarm.exchanges.get(TAG)
        if exchange is None:
            return []
        return [(p, piece) for p, n in exchange.neighbours.items() for piece in sorted(n.asked)]

    def _store_if_whole(self) -> None:
        exchange = self.script.swarm.exchanges.get(TAG)
        if exchange is not None and exchange.complete and exchange.wanted:
            self._do(self.script.tell(on.BlobStored(SPEC)))

    @rule(seconds=st.floats(0.05, 4.0))
    def wait(self, seconds: float) -> None:
        """Time passes."""
        self._do(self.script.tell(on.Ticked(), after_s=seconds))

    @invariant()
    def invariants_hold(self) -> None:
        """The swarm's own check, and what its orders must have in common."""
        self.script.swarm.check()
        assert self.script.swarm.tick_s > 0


AnyOrder.TestCase.settings = settings(max_examples=60, stateful_step_count=50, deadline=None)
TestAnyOrder = AnyOrder.TestCase
