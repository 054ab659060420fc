"""Suspicion: who is left alone, and for how long."""

import pytest

from shoal.core.peer import PeerId
from shoal.core.swarm.policy import DEFAULT
from shoal.core.swarm.suspicion import PEERS_MOST, SPOILED_MOST, STEADY_S, Suspicion

PEER = PeerId("10.0.0.1:65002")
OTHER = PeerId("10.0.0.2:65002")


def left_alone_s(suspicion: Suspicion, *, now_s: float) -> float:
    """How long from now the peer is left alone, to a tenth of a second."""
    steps = 0
    while suspicion.holds(PEER, now_s=now_s + steps / 10):
        steps += 1
    return steps / 10


def test_nobody_is_suspected_without_a_reason() -> None:
    assert not Suspicion(DEFAULT).holds(PEER, now_s=0.0)


def test_a_peer_whose_connection_broke_is_left_alone_for_a_while() -> None:
    suspicion = Suspicion(DEFAULT)
    suspicion.failed(PEER, now_s=10.0)
    assert left_alone_s(suspicion, now_s=10.0) == DEFAULT.suspect_s
    assert not suspicion.holds(OTHER, now_s=10.0)


def test_a_peer_that_cannot_be_dialed_is_left_alone_for_longer() -> None:
    suspicion = Suspicion(DEFAULT)
    suspicion.failed(PEER, now_s=10.0, dialed=True)
    assert left_alone_s(suspicion, now_s=10.0) == DEFAULT.unreachable_s


def test_each_failure_in_a_row_doubles_the_time_up_to_a_bound() -> None:
    suspicion = Suspicion(DEFAULT)
    now_s, pauses = 0.0, []
    for _ in range(40):
        suspicion.failed(PEER, now_s=now_s)
        pauses.append(left_alone_s(suspicion, now_s=now_s))
        now_s += pauses[-1]
    assert pauses[:3] == [2.0, 4.0, 8.0]
    assert pauses[-1] == DEFAULT.suspect_most_s


def test_a_peer_that_answers_again_is_not_left_alone() -> None:
    suspicion = Suspicion(DEFAULT)
    suspicion.failed(PEER, now_s=0.0)
    suspicion.cleared(PEER, now_s=0.5)
    assert not suspicion.holds(PEER, now_s=0.5)


def test_a_connection_that_stood_for_a_while_begins_a_new_row() -> None:
    suspicion = Suspicion(DEFAULT)
    for _ in range(3):
        suspicion.failed(PEER, now_s=0.0)
    suspicion.cleared(PEER, now_s=20.0)
    suspicion.failed(PEER, now_s=20.0 + STEADY_S)
    assert left_alone_s(suspicion, now_s=20.0 + STEADY_S) == DEFAULT.suspect_s


def test_a_peer_that_breaks_every_connection_is_left_alone_longer_each_time() -> None:
    suspicion = Suspicion(DEFAULT)
    pauses_s = []
    for _ in range(4):
        suspicion.cleared(PEER, now_s=0.0)
        suspicion.failed(PEER, now_s=0.1)
        pauses_s.append(suspicion.until_s[PEER] - 0.1)
    assert pauses_s == pytest.approx([DEFAULT.suspect_s * 2**n for n in range(4)])
    assert not suspicion.first(PEER)


def test_a_peer_that_breaks_what_it_begins_again_and_again_is_not_cleared_by_a_connection() -> None:
    suspicion = Suspicion(DEFAULT)
    held = []
    for number in range(3):
        suspicion.cleared(PEER, now_s=number)
        held.append(suspicion.holds(PEER, now_s=number))
        suspicion.failed(PEER, now_s=number + 0.1)
    assert held == [False, False, True]
    suspicion.cleared(PEER, now_s=3.0)
    suspicion.failed(PEER, now_s=3.0 + STEADY_S)
    suspicion.cleared(PEER, now_s=3.1 + STEADY_S)
    assert not suspicion.holds(PEER, now_s=30.0 + STEADY_S), "it stood for a while"


def test_a_peer_that_could_not_be_dialed_for_long_is_cleared_when_it_is_back() -> None:
    suspicion = Suspicion(DEFAULT)
    for number in range(5):
        suspicion.failed(PEER, now_s=10.0 * number, dialed=True)
    suspicion.cleared(PEER, now_s=50.0)
    assert not suspicion.holds(PEER, now_s=50.0)


def test_one_bad_piece_is_forgiven_but_not_many() -> None:
    suspicion = Suspicion(DEFAULT)
    verdicts = [suspicion.spoiled(PEER) for _ in range(SPOILED_MOST)]
    assert verdicts == [False] * (SPOILED_MOST - 1) + [True]


def test_a_ban_outlasts_a_new_connection() -> None:
    suspicion = Suspicion(DEFAULT)
    suspicion.banned(PEER, now_s=0.0)
    suspicion.cleared(PEER, now_s=0.0)
    assert suspicion.holds(PEER, now_s=DEFAULT.banned_s - 1)
    assert suspicion.bans_now(PEER, now_s=DEFAULT.banned_s - 1)
    assert not suspicion.bans_now(PEER, now_s=DEFAULT.banned_s)
    assert not suspicion.holds(PEER, now_s=DEFAULT.banned_s)


def test_a_ban_that_is_over_leaves_no_trace() -> None:
    suspicion = Suspicion(DEFAULT)
    suspicion.banned(PEER, now_s=0.0)
    suspicion.cleared(PEER, now_s=DEFAULT.banned_s)
    suspicion.failed(PEER, now_s=DEFAULT.banned_s)
    suspicion.cleared(PEER, now_s=DEFAULT.banned_s)
    assert not suspicion.holds(PEER, now_s=DEFAULT.banned_s)


def test_a_failure_does_not_shorten_a_ban() -> None:
    suspicion = Suspicion(DEFAULT)
    suspicion.banned(PEER, now_s=0.0)
    suspicion.failed(PEER, now_s=1.0)
    assert suspicion.holds(PEER, now_s=DEFAULT.banned_s - 1)


def test_what_is_remembered_is_bounded() -> None:
    suspicion = Suspicion(DEFAULT)
    for number in range(PEERS_MOST + 10):
        suspicion.failed(PeerId(f"peer {number}"), now_s=0.0)
    assert suspicion.holds(PeerId(f"peer {PEERS_MOST + 9}"), now_s=0.0)
    assert len(suspicion.until_s) <= PEERS_MOST
    assert len(suspicion.failures) <= PEERS_MOST


def test_who_refuses_this_node_is_dialed_again_soon_and_then_every_few_seconds() -> None:
    it, now_s, pauses = Suspicion(DEFAULT), 100.0, []
    for _ in range(7):
        it.refused(PEER, now_s=now_s)
        assert not it.holds(PEER, now_s=now_s), "it has not failed"
        began_s = now_s
        while it.refuses(PEER, now_s=now_s):
            now_s += 0.05
        pauses.append(round(now_s - began_s, 1))
    assert pauses[0] <= 0.3
    assert pauses == sorted(pauses)
    assert pauses[-1] == DEFAULT.refusal_most_s


@pytest.mark.parametrize("how", ["cleared", "failed"])
def test_a_peer_that_takes_this_node_or_is_gone_refuses_no_more(how: str) -> None:
    it = Suspicion(DEFAULT)
    it.refused(PEER, now_s=100.0)
    getattr(it, how)(PEER, now_s=100.1)
    assert not it.refuses(PEER, now_s=100.1)
    assert not it.refusals


def bans(*begun_s: float) -> list[float]:
    """Ban the peer at these times; return for how long each time."""
    suspicion, lengths = Suspicion(DEFAULT), []
    for now_s in begun_s:
        suspicion.banned(PEER, now_s=now_s)
        lengths.append(suspicion.until_s[PEER] - now_s)
    return lengths


def test_who_is_banned_again_and_again_is_left_out_twice_as_long_up_to_a_bound() -> None:
    assert bans(0, 100, 300, 600, 1200, 2000) == [60, 120, 240, 480, 600, 600]


def test_who_has_behaved_for_long_is_banned_as_for_the_first_time() -> None:
    assert bans(0, 100, 100 + 120 + 601) == [60, 120, 60]


def test_two_offences_at_once_count_as_one() -> None:
    assert bans(0, 1, 2, 100) == [60, 60, 60, 120]


def test_no_more_offenders_are_remembered_than_peers_may_fail(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("shoal.core.swarm.suspicion.PEERS_MOST", 3)
    suspicion = Suspicion(DEFAULT)
    for number in range(5):
        suspicion.banned(PeerId(f"peer {number}"), now_s=0.0)
    assert len(suspicion.offences) == 3
