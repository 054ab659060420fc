"""The exchange of one blob: what is here, who has what, what is on its way."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from shoal.core.blob import MIN_PIECE_BYTES
from shoal.core.peer import PeerId
from shoal.core.swarm.events import REGISTRY
from shoal.core.swarm.exchange import FETCHES_MOST, Exchange
from shoal.testing.swarm_script import blob

A, B, C = (PeerId(name) for name in "abc")
KIB = 1024


def exchange(*, pieces: int = 8, held: int = 0) -> Exchange:
    return Exchange(blob(pieces=pieces), held, opened_s=0.0, progress_s=0.0)


def stalled(it: Exchange, now_s: float) -> list[int]:
    return [piece for piece, _ in it.stalled(now_s, stall_s=1.0)]


def test_a_blob_is_complete_when_no_piece_is_missing() -> None:
    it = exchange(pieces=2, held=0b01)
    assert it.missing == 0b10
    assert not it.complete
    it.stored(1, A, 1.0)
    assert it.missing == 0
    assert it.complete


def test_the_window_begins_with_the_reader_and_ends_with_the_blob() -> None:
    it = exchange(pieces=20)
    assert it.window(10 * MIN_PIECE_BYTES) == (1 << 10) - 1
    it.reader_piece = 5
    assert it.window(10 * MIN_PIECE_BYTES) == (1 << 15) - 1
    it.reader_piece = 19
    assert it.window(10 * MIN_PIECE_BYTES) == (1 << 20) - 1


def test_the_window_has_some_pieces_however_long_they_are() -> None:
    assert exchange(pieces=20).window(1) == (1 << 8) - 1


def test_what_a_neighbour_has_is_news_only_if_it_is_missing_here() -> None:
    it = exchange(held=0b0001)
    it.meet(A, 0b0001)
    assert not it.learn(A, 0b0001)
    assert it.learn(A, 0b0010)
    assert not it.learn(A, 0b0010)


def test_a_neighbour_that_is_met_again_is_the_same() -> None:
    it = exchange()
    it.meet(A, 0b0001)
    it.ask(0, A, 1.0)
    it.meet(A, 0b0011)
    assert it.neighbours[A].asked == {0}
    assert it.rarity.holders[:2] == [1, 1]
    it.check()


def test_a_piece_that_came_is_no_longer_needed_from_anyone() -> None:
    it = exchange()
    for peer in (A, B):
        it.meet(peer, 0b1)
        it.ask(0, peer, 1.0)
    assert it.stored(0, A, 2.0) == [A, B]
    assert it.requests == 0
    assert it.in_flight_bits == 0
    it.check()


def test_who_began_to_send_is_waited_for_and_the_others_are_not() -> None:
    it = exchange()
    for peer in (A, B, C):
        it.meet(peer, 0b1)
        it.ask(0, peer, 1.0)
    assert it.progressed(0, B, 2.0) == [A, C]


def test_two_that_both_began_race_to_the_end() -> None:
    it = exchange()
    for peer in (A, B):
        it.meet(peer, 0b1)
        it.ask(0, peer, 1.0)
    it.progressed(0, A, 2.0)
    assert it.progressed(0, B, 2.0) == []


def test_a_fetch_from_the_registry_is_not_called_off_for_a_peer() -> None:
    it = exchange()
    it.meet(A, 0b1)
    it.ask(0, REGISTRY, 1.0)
    it.ask(0, A, 1.0)
    assert it.progressed(0, A, 2.0) == []


def test_a_fetch_without_progress_has_stalled() -> None:
    it = exchange()
    it.meet(A, 0b1)
    it.ask(0, A, 1.0)
    assert stalled(it, 2.0) == []
    assert stalled(it, 2.1) == [0]
    it.progressed(0, A, 2.1)
    assert stalled(it, 3.0) == []


def test_a_piece_stalls_only_when_all_that_were_asked_have() -> None:
    it = exchange()
    for peer in (A, B):
        it.meet(peer, 0b1)
    it.ask(0, A, 1.0)
    it.ask(0, B, 2.5)
    assert stalled(it, 3.0) == []
    assert stalled(it, 3.6) == [0]


def test_a_piece_is_asked_of_a_few_at_most() -> None:
    it = exchange()
    for number in range(FETCHES_MOST):
        it.meet(PeerId(f"p{number}"), 0b1)
        it.ask(0, PeerId(f"p{number}"), 1.0)
    assert stalled(it, 100.0) == []


def test_a_neighbour_that_was_asked_and_sends_nothing_is_left_alone_longer_each_time() -> None:
    it = exchange()
    it.meet(A, 0b11)
    it.meet(B, 0b11)
    it.ask(0, A, 1.0)
    it.look_for_silence(2.0, silent_s=1.0, served_s={})
    assert it.written_off == 0
    it.look_for_silence(2.1, silent_s=1.0, served_s={})
    assert it.written_off == 1
    assert it.neighbours[A].busy_until_s == 2.1 + 2
    assert it.neighbours[B].busy_until_s == 0.0, "it was asked for nothing"
    it.look_for_silence(4.2, silent_s=1.0, served_s={})
    assert it.neighbours[A].busy_until_s == 4.2 + 4


def test_a_neighbour_that_sends_again_is_asked_again() -> None:
    it = exchange()
    it.meet(A, 0b11)
    it.ask(0, A, 1.0)
    it.look_for_silence(2.1, silent_s=1.0, served_s={})
    it.progressed(0, A, 2.2)
    it.look_for_silence(2.3, silent_s=1.0, served_s={})
    assert it.written_off == 0
    assert it.neighbours[A].busy_until_s == 0.0


def test_a_neighbour_that_sends_pieces_of_other_blobs_is_not_silent() -> None:
    it = exchange()
    it.meet(A, 0b11)
    it.ask(0, A, 1.0)
    it.look_for_silence(5.0, silent_s=1.0, served_s={A: 4.5})
    assert it.written_off == 0
    it.look_for_silence(5.6, silent_s=1.0, served_s={A: 4.5})
    assert it.written_off == 1


def test_what_a_lost_neighbour_was_asked_for_can_be_asked_elsewhere() -> None:
    it = exchange()
    it.meet(A, 0b11)
    it.ask(0, A, 1.0)
    it.part(A)
    assert it.in_flight == {}
    assert it.rarity.holders == [0] * 8
    it.part(A)  # and again
    it.check()


class AnyOrder(RuleBasedStateMachine):
    """Neighbours come, tell, answer what they were asked, and go, in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.exchange = exchange(pieces=6)
        self.now_s = 0.0

    def _outstanding(self) -> list[tuple[int, PeerId]]:
        return [(p, f.source) for p, fs in self.exchange.in_flight.items() for f in fs]

    def _askable(self) -> list[tuple[int, PeerId]]:
        asked = self._outstanding()
        sources = [(p, REGISTRY) for p in range(6) if not self.exchange.rarity.holders[p]] + [
            (piece, peer)
            for peer, neighbour in sorted(self.exchange.neighbours.items())
            for piece in range(6)
            if neighbour.held >> piece & 1
        ]
        return [
            (piece, source)
            for piece, source in sources
            if self.exchange.missing >> piece & 1
            and (piece, source) not in asked
            and len(self.exchange.in_flight.get(piece, ())) < FETCHES_MOST
        ]

    @rule(seconds=st.floats(0.0, 3.0))
    def wait(self, seconds: float) -> None:
        """Time passes."""
        self.now_s += seconds
        self.exchange.look_for_silence(self.now_s, silent_s=1.0, served_s={})
        for piece, fetches in self.exchange.stalled(self.now_s, stall_s=1.0):
            assert self.exchange.missing >> piece & 1
            assert all(self.now_s - fetch.progress_s > 1.0 for fetch in fetches)

    @rule(peer=st.sampled_from((A, B, C)), held=st.integers(0, 63))
    def meet(self, peer: PeerId, held: int) -> None:
        """A neighbour joins, or tells of more pieces."""
        self.exchange.meet(peer, held)

    @rule(peer=st.sampled_from((A, B, C)))
    def part(self, peer: PeerId) -> None:
        """A neighbour goes."""
        self.exchange.part(peer)
        assert not any(source == peer for _, source in self._outstanding())

    @precondition(lambda self: self._askable())
    @rule(data=st.data())
    def ask(self, data: st.DataObject) -> None:
        """A piece is asked of whoever has it."""
        piece, source = data.draw(st.sampled_from(self._askable()))
        self.exchange.ask(piece, source, self.now_s)

    @precondition(lambda self: self._outstanding())
    @rule(data=st.data(), answer=st.sampled_from(("bytes", "whole", "no")))
    def answer(self, data: st.DataObject, answer: str) -> None:
        """Whoever was asked sends something, everything, or declines."""
        piece, source = data.draw(st.sampled_from(self._outstanding()))
        if answer == "bytes":
            for other in self.exchange.progressed(piece, source, self.now_s):
                self.exchange.unask(piece, other)
        elif answer == "no":
            self.exchange.unask(piece, source)
        else:
            assert source in self.exchange.stored(piece, source, self.now_s)

    @rule(piece=st.integers(0, 5), source=st.sampled_from((A, B, C, REGISTRY)))
    def say_no_unasked(self, piece: int, source: PeerId) -> None:
        """An answer to a question that was taken back, or never put."""
        if (piece, source) not in self._outstanding():
            before = repr(self.exchange)
            self.exchange.unask(piece, source)
            assert repr(self.exchange) == before

    @invariant()
    def invariants_hold(self) -> None:
        """The exchange's own check, after every step."""
        self.exchange.check()
        assert self.exchange.requests >= 0


AnyOrder.TestCase.settings = settings(max_examples=80, stateful_step_count=40, deadline=None)
TestAnyOrder = AnyOrder.TestCase
