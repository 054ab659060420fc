"""What peers may send adds up to a little of the rate, and never to nothing for who was asked."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shoal.core.limits.allowances import (
    ACTIVE_S,
    LEAST_WINDOW_BYTES,
    WINDOW_S,
    Allowances,
)
from shoal.core.peer import PeerId

A, B = PeerId("192.0.2.1:1"), PeerId("192.0.2.2:1")
RATE = 10_000_000
WINDOW = int(RATE * WINDOW_S)


def test_who_is_asked_is_allowed_a_window_and_no_more_while_it_is_open() -> None:
    book = Allowances()
    assert book.asked(A, rate_bytes_per_s=RATE, now_s=0.0) == WINDOW
    assert book.asked(A, rate_bytes_per_s=RATE, now_s=0.0) == 0  # it is coming
    book.given(A, WINDOW)
    assert book.asked(A, rate_bytes_per_s=RATE, now_s=0.1) == 0  # it is open


def test_what_came_is_allowed_again_once_it_is_half_a_window() -> None:
    book = Allowances()
    book.given(A, book.asked(A, rate_bytes_per_s=RATE, now_s=0.0))
    book.given(A, WINDOW)
    part = WINDOW // 4
    assert book.arrived(A, part, rate_bytes_per_s=RATE, now_s=0.1) == 0
    book = Allowances()
    size = book.asked(A, rate_bytes_per_s=RATE, now_s=0.0)
    book.given(A, size)
    assert book.arrived(A, part, rate_bytes_per_s=RATE, now_s=0.1) == 0
    assert book.arrived(A, part, rate_bytes_per_s=RATE, now_s=0.1) == 2 * part
    assert book.arrived(A, part, rate_bytes_per_s=RATE, now_s=0.1) == 0  # that is coming


def test_windows_share_what_all_may_have() -> None:
    book = Allowances()
    size = 0
    peers = [PeerId(f"192.0.2.{n}:1") for n in range(10)]
    for peer in peers:
        size = book.asked(peer, rate_bytes_per_s=RATE, now_s=0.0)
        book.given(peer, size)
    assert size == WINDOW // 10
    # Those that had more at first come down to their share.
    assert (
        book.arrived(peers[0], WINDOW - 10, rate_bytes_per_s=RATE, now_s=0.1) == WINDOW // 10 - 10
    )


def test_who_was_not_heard_of_for_a_while_has_no_share() -> None:
    book = Allowances()
    book.asked(A, rate_bytes_per_s=RATE, now_s=0.0)
    assert book.asked(B, rate_bytes_per_s=RATE, now_s=ACTIVE_S + 1) == WINDOW


def test_at_a_low_rate_a_window_is_still_worth_a_message() -> None:
    book = Allowances()
    assert book.asked(A, rate_bytes_per_s=1000, now_s=0.0) == LEAST_WINDOW_BYTES


def test_what_nobody_allowed_is_forgiven() -> None:
    book = Allowances()
    assert book.arrived(A, 100 * WINDOW, rate_bytes_per_s=RATE, now_s=0.0) == WINDOW


def test_a_peer_that_was_lost_begins_anew() -> None:
    book = Allowances()
    book.given(A, book.asked(A, rate_bytes_per_s=RATE, now_s=0.0))
    book.lost(A)
    book.given(A, 1)  # too late
    assert book.asked(A, rate_bytes_per_s=RATE, now_s=0.0) == WINDOW


@pytest.mark.parametrize("faster", [2, 10])
def test_a_higher_rate_opens_windows_as_bytes_come(faster: int) -> None:
    book = Allowances()
    book.given(A, book.asked(A, rate_bytes_per_s=RATE, now_s=0.0))
    size = book.arrived(A, 1000, rate_bytes_per_s=faster * RATE, now_s=0.1)
    assert size == faster * WINDOW - WINDOW + 1000


@given(st.lists(st.tuples(st.sampled_from([A, B]), st.integers(1, 100_000)), max_size=50))
def test_a_peer_that_was_asked_can_always_send_or_will_be_allowed_to(
    steps: list[tuple[PeerId, int]],
) -> None:
    book = Allowances()
    for number, (peer, size) in enumerate(steps):
        now_s = number * 0.5
        book.asked(peer, rate_bytes_per_s=RATE, now_s=now_s)
        book.arrived(peer, size, rate_bytes_per_s=RATE, now_s=now_s)
        window = book.windows[peer]
        assert window.open_bytes + window.coming_bytes >= LEAST_WINDOW_BYTES // 2
        assert window.open_bytes + window.coming_bytes <= WINDOW
        if number % 3:
            book.given(peer, window.coming_bytes)
