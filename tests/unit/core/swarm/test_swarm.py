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
from unit.core.swarm.scripts import ALL, SPEC, TAG, A, B, C, connected, holding, wanting

# --- blobs come and go ------------------------------------------------------------------------


def test_a_dropped_blob_is_left_everywhere() -> None:
    script = wanting()
    script.hear("b", Join(SPEC, 0))
    effects = script.tell(on.BlobDropped(TAG))
    assert said(effects, to="a") == said(effects, to="b") == [Leave(TAG)]
    assert script.swarm.exchanges == {}


def test_what_is_queued_of_a_dropped_blob_is_sent_to_nobody() -> None:
    script = holding()
    script.hear("b", Join(SPEC, 0))
    script.hear("b", *(Request(TAG, piece) for piece in range(5)))
    script.tell(on.BlobDropped(TAG))
    assert script.tell(on.UploadEnded(B, TAG, 0)) == []


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


def test_a_node_that_joined_leases_nothing_before_holders_can_have_told_it() -> None:
    spec = blob_tracked_by("me", "a", "b", pieces=8)
    script = Script("me", "a", "b", member_for_s=0.0)
    assert not [e for e in script.tell(on.BlobWanted(spec)) if isinstance(e, do.FetchFromRegistry)]
    script.connect("a", "b")
    script.hear("b", Announce(spec, ALL, wants=False, peers_sought=0))
    effects = script.wait(1.5)
    assert Join(spec, 0) in said(effects, to="b")
    assert not [effect for effect in effects if isinstance(effect, do.FetchFromRegistry)]


def test_a_node_that_joined_leases_soon_where_nobody_has_anything() -> None:
    spec = blob_tracked_by("me", "a", "b", pieces=8)
    script = Script("me", "a", "b", member_for_s=0.0)
    script.tell(on.BlobWanted(spec))
    script.connect("a", "b")
    assert do.FetchFromRegistry(spec.tag, 0, 1) in script.wait(DEFAULT.told_within_s + 0.2)


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
            if isinstance(effect, do.Send | do.Probe):
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


@pytest.mark.parametrize("neighbours", [False, True])
def test_who_refuses_to_be_a_neighbour_of_its_tracker_keeps_its_lease(*, neighbours: bool) -> None:
    spec = blob_tracked_by("me", "a", "b", pieces=8)
    script = Script("me", "a", "b")
    script.connect("a")
    effects = script.tell(on.BlobWanted(spec))
    effects += script.hear(
        "a", Announce(spec, 0, wants=True, peers_sought=4), LeaseWanted(spec.tag)
    )
    effects += script.wait(1.2)  # the tracker introduces itself as well, to itself
    assert any(isinstance(m, Join) for m in said(effects, to="a"))
    table = script.swarm.tracker.tables[spec.tag]
    assert A in {lease.peer for lease in table.leases.values()}
    if neighbours:
        script.hear("a", Join(spec, 0))
    script.hear("a", Leave(spec.tag))
    assert (A in table.participants) is not neighbours, "a neighbour that leaves has left"
