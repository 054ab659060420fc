"""Requests: which pieces are asked of which neighbours, and how many at once."""

from collections import Counter
from dataclasses import replace
from random import Random

import pytest

from shoal.core import bitmap
from shoal.core.peer import PeerId
from shoal.core.swarm.effects import Send
from shoal.core.swarm.events import REGISTRY
from shoal.core.swarm.exchange import Exchange
from shoal.core.swarm.policy import DEFAULT, Policy
from shoal.core.swarm.requests import Requests
from shoal.core.swarm.site import Site
from shoal.core.wire.messages import Request
from shoal.testing.swarm_script import blob

A, B, C, D = (PeerId(name) for name in "abcd")
MIB = 1024 * 1024
PIECE_BYTES = 256 * 1024


class Node:
    """A node with neighbours that hold pieces, and one blob that it wants."""

    def __init__(self, *, pieces: int = 8, policy: Policy = DEFAULT, seed: int = 1) -> None:
        self.site = Site(PeerId("me"), policy)
        self.requests = Requests(self.site, Random(seed))  # noqa: S311  (not for secrets)
        self.exchange = Exchange(blob(pieces=pieces), 0, opened_s=0.0, progress_s=0.0)
        self.at(100.0)

    def at(self, now_s: float) -> None:
        """Let it be this time."""
        self.site.begin(now_s)

    def meet(self, peer: PeerId, held: int) -> None:
        """A connected neighbour holds these pieces."""
        self.site.connected(peer)
        self.exchange.meet(peer, held)

    def fill(self, free: int = 99) -> list[tuple[PeerId, int]]:
        """Fill `free` free requests; return what was asked of whom."""
        before = len(self.site.out)
        count = self.requests.fill(self.exchange, free)
        self.exchange.check()
        asked = []
        for effect in self.site.out[before:]:
            assert isinstance(effect, Send)
            assert isinstance(effect.message, Request)
            asked.append((effect.peer, effect.message.piece))
        assert len(asked) == count <= max(free, 0)
        return asked


@pytest.fixture
def node() -> Node:
    return Node()


def test_a_piece_is_asked_of_a_neighbour_that_has_it(node: Node) -> None:
    node.meet(A, 0b0001)
    node.meet(B, 0b0010)
    assert sorted(node.fill()) == [(A, 0), (B, 1)]


def test_nothing_is_asked_for_twice(node: Node) -> None:
    node.meet(A, 0b0011)
    assert len(node.fill()) == 2
    node.meet(B, 0b0011)
    assert node.fill() == []


def test_nothing_is_asked_for_that_is_here_or_comes_from_the_registry(node: Node) -> None:
    node.exchange.held = 0b0001
    node.exchange.ask(1, REGISTRY, 100.0)
    node.meet(A, 0b0111)
    assert node.fill() == [(A, 2)]


def test_no_more_is_asked_for_than_is_free(node: Node) -> None:
    for peer in (A, B, C):
        node.meet(peer, 0b11111111)
    assert len(node.fill(4)) == 4
    assert node.fill(0) == []
    assert node.fill(-3) == []


def test_each_neighbour_has_few_requests_and_the_least_busy_gets_the_next(node: Node) -> None:
    node.meet(A, 0b11111111)
    node.meet(B, 0b11111111)
    assert set(Counter(peer for peer, _ in node.fill()).values()) == {
        DEFAULT.requests_per_neighbour
    }
    node.meet(C, 0b11111111)
    assert {peer for peer, _ in node.fill()} == {C}


def test_the_rarest_piece_is_asked_for_first(node: Node) -> None:
    node.meet(A, 0b1111)
    node.meet(B, 0b0111)
    node.meet(C, 0b0011)
    node.exchange.neighbours[B].busy_until_s = node.exchange.neighbours[C].busy_until_s = 999.0
    assert node.fill(2) == [(A, 3), (A, 2)]


def test_nothing_beyond_the_readers_window_is_asked_for() -> None:
    node = Node(pieces=40, policy=replace(DEFAULT, window_bytes=10 * PIECE_BYTES, window_pieces=8))
    node.exchange.reader_piece = 5
    node.meet(A, bitmap.run(15, 25))
    assert node.fill() == []
    node.exchange.reader_piece = 10
    assert node.fill()


def test_a_busy_neighbour_is_asked_later(node: Node) -> None:
    node.meet(A, 0b0001)
    node.exchange.neighbours[A].busy_until_s = 101.0
    assert node.fill() == []
    node.at(101.0)
    assert node.fill() == [(A, 0)]


# --- when a piece does not come ---------------------------------------------------------------


def test_a_piece_that_does_not_begin_is_asked_elsewhere_when_nothing_else_is_left(
    node: Node,
) -> None:
    node.meet(A, 0b0001)
    node.fill()
    node.meet(B, 0b0001)
    node.at(99.9 + DEFAULT.hedge_s)
    assert node.fill() == []
    node.at(100.1 + DEFAULT.hedge_s)
    assert node.fill() == [(B, 0)]


def test_a_piece_that_is_coming_is_not_asked_elsewhere_until_it_stalls(node: Node) -> None:
    node.meet(A, 0b0001)
    node.fill()
    node.meet(B, 0b0001)
    node.exchange.progressed(0, A, 100.5)
    node.at(100.5 + DEFAULT.stall_s)
    assert node.fill() == []
    node.at(100.6 + DEFAULT.stall_s)
    assert node.fill() == [(B, 0)]


def test_a_stalled_fetch_from_the_registry_is_asked_of_a_neighbour(node: Node) -> None:
    node.exchange.ask(0, REGISTRY, 100.0)
    node.meet(A, 0b0001)
    node.at(102.0)
    assert node.fill() == [(A, 0)]


def test_what_is_left_to_ask_for_goes_before_asking_twice(node: Node) -> None:
    node.meet(A, 0b0001)
    node.fill()
    node.meet(B, 0b0011)
    node.at(100.9)
    assert node.fill(1) == [(B, 1)]


def test_what_a_silent_neighbour_was_asked_goes_before_all_else(node: Node) -> None:
    # The reader may be waiting for just that piece.
    node.meet(A, 0b0001)
    node.fill()
    node.meet(B, 0b0011)
    node.at(101.1)
    node.exchange.look_for_silence(101.1, silent_s=DEFAULT.stall_s, served_s={})
    assert node.fill(1) == [(B, 0)]


def test_a_silent_neighbour_is_asked_for_nothing_more(node: Node) -> None:
    node.meet(A, 0b0111)
    node.fill(1)
    node.at(101.1)
    node.exchange.look_for_silence(101.1, silent_s=DEFAULT.stall_s, served_s={})
    assert node.fill() == []


def test_the_same_neighbour_is_not_asked_twice_for_a_piece(node: Node) -> None:
    node.meet(A, 0b0001)
    node.fill()
    node.at(200.0)
    assert node.fill() == []


# --- how many at once -------------------------------------------------------------------------


def settle(node: Node, *, bytes_per_s: float) -> int:
    """Let pieces arrive at this rate for a while; return the budget."""
    for tenth in range(100):
        node.at(100.0 + tenth / 10)
        node.requests.stored(int(bytes_per_s / 10))
        node.requests.ticked()
    return node.requests.budget(node.exchange)


def test_while_nothing_is_known_of_the_link_few_requests_are_out(node: Node) -> None:
    assert node.requests.budget(node.exchange) == DEFAULT.requests_least


def test_a_faster_link_has_more_requests_out_up_to_a_bound(node: Node) -> None:
    slow, fast = settle(Node(), bytes_per_s=1 * MIB), settle(Node(), bytes_per_s=20 * MIB)
    assert DEFAULT.requests_least == slow < fast < DEFAULT.requests_most
    assert settle(Node(), bytes_per_s=1000 * MIB) == DEFAULT.requests_most


def test_a_link_that_became_slow_has_few_requests_out_again(node: Node) -> None:
    settle(node, bytes_per_s=1000 * MIB)
    for tenth in range(100):
        node.at(110.0 + tenth / 10)
        node.requests.ticked()
    assert node.requests.budget(node.exchange) == DEFAULT.requests_least


def test_two_ticks_at_the_same_time_do_no_harm(node: Node) -> None:
    node.requests.ticked()
    node.requests.ticked()
    assert node.requests.budget(node.exchange) == DEFAULT.requests_least


def test_pieces_are_asked_for_in_the_readers_order_where_all_neighbours_have_everything(
    node: Node,
) -> None:
    node.meet(A, bitmap.full(8))
    node.meet(B, bitmap.full(8))
    assert [piece for _, piece in node.fill(5)] == [0, 1, 2, 3, 4]
    node.meet(C, 0)  # now there is somebody to have something for
    orders = {tuple(piece for _, piece in _fresh(seed).fill(5)) for seed in range(9)}
    assert len(orders) > 1


def _fresh(seed: int) -> Node:
    node = Node(seed=seed)
    node.meet(A, bitmap.full(8))
    node.meet(B, bitmap.full(8))
    node.meet(C, 0)
    return node
