"""A rate holds whoever asks, and is shared between those who do."""

from collections import Counter
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shoal.core.blob import KIB, MIB
from shoal.core.limits.shaper import BURST_S, LATE_S, Shaper

RATE = 1_000_000


def drained() -> Shaper[Any]:
    """Return a shaper whose burst is used up, so that what is seen is how it shares the rate."""
    shaper = Shaper[Any](RATE, now_s=0.0)
    shaper.ask("before", int(RATE * BURST_S), "before", now_s=0.0)
    assert shaper.ready(now_s=0.0) == ["before"]
    return shaper


def served(
    shaper: Shaper[str],
    flows: list[str],
    *,
    seconds: float,
    size: int = 4 * KIB,
    start_s: float = 0,
) -> Counter[str]:
    """Let `flows` ask again as soon as they are served; return what each moved."""
    moved: Counter[str] = Counter()
    for flow in flows:
        shaper.ask(flow.rstrip("'"), size, flow, now_s=start_s)
    now_s = start_s
    while now_s < start_s + seconds:
        for flow in shaper.ready(now_s=now_s):
            moved[flow.rstrip("'")] += size
            shaper.ask(flow.rstrip("'"), size, flow, now_s=now_s)
        due_s = shaper.due_s(now_s=now_s)
        assert due_s is not None
        now_s += max(due_s, 0.001)
    return moved


def test_a_flow_alone_gets_the_whole_rate() -> None:
    moved = served(Shaper(RATE, now_s=0.0), ["a"], seconds=10.0)
    assert 9.99 * RATE <= moved["a"] <= (10 + BURST_S) * RATE + 8 * KIB


@pytest.mark.parametrize("rate", [62_500, 125_000, 12_500_000, 512_000_000])
def test_any_rate_holds_within_its_burst_and_is_used(rate: int) -> None:
    shaper = Shaper[str](rate, now_s=0.0)
    size = shaper.stretch_bytes
    moved = served(shaper, ["a", "b"], seconds=4.0, size=size)
    assert 0.98 * 4 * rate <= moved.total() <= (4 + BURST_S) * rate + 2 * size


def test_flows_get_equal_shares_however_many_ask_for_each() -> None:
    moved = served(drained(), ["a", "a'", "a''", "a'''", "b"], seconds=10.0)
    assert moved["a"] == pytest.approx(moved["b"], rel=0.02)


def test_flows_with_large_and_small_tickets_get_equal_shares() -> None:
    shaper = drained()
    moved: Counter[str] = Counter()
    for flow, size in (("large", 64 * KIB), ("small", 4 * KIB)):
        shaper.ask(flow, size, (flow, size), now_s=0.0)
    for step in range(10_000):
        for flow, size in shaper.ready(now_s=step / 1000):
            moved[flow] += size
            shaper.ask(flow, size, (flow, size), now_s=step / 1000)
    assert moved["large"] == pytest.approx(moved["small"], rel=0.02)


def test_a_flow_that_asks_for_one_thing_at_a_time_is_not_put_behind_or_before_others() -> None:
    shaper = drained()
    for _ in range(1000):
        shaper.ask("many", 4 * KIB, "many", now_s=0.0)
    moved: Counter[str] = Counter()
    shaper.ask("one", 4 * KIB, "one", now_s=0.0)
    for step in range(2000):
        for flow in shaper.ready(now_s=step / 1000):
            moved[flow] += 1
            if flow == "one":
                shaper.ask("one", 4 * KIB, "one", now_s=step / 1000)
    assert moved["one"] == pytest.approx(moved["many"], rel=0.02)


def test_a_flow_that_was_away_saves_up_nothing_and_owes_nothing() -> None:
    shaper = Shaper[str](RATE, now_s=0.0)
    served(shaper, ["early"], seconds=5.0)
    moved = served(shaper, ["late"], seconds=5.0, start_s=5.0)
    assert moved["late"] == pytest.approx(moved["early"], rel=0.05)


def test_a_pause_saves_no_more_than_the_burst() -> None:
    shaper = drained()
    for ticket in range(1000):
        shaper.ask("a", 4 * KIB, ticket, now_s=3600.0)
    size = 4 * KIB * len(shaper.ready(now_s=3600.0))
    assert RATE * BURST_S <= size <= RATE * BURST_S + 4 * KIB


def test_who_looks_late_loses_nothing_of_what_is_waited_for_within_reason() -> None:
    shaper = drained()
    for ticket in range(1000):
        shaper.ask("a", 4 * KIB, ticket, now_s=0.0)
    size = 4 * KIB * len(shaper.ready(now_s=0.2))
    assert RATE * 0.2 <= size <= RATE * 0.2 + 4 * KIB
    size = 4 * KIB * len(shaper.ready(now_s=3600.0))
    assert RATE * LATE_S - 4 * KIB <= size <= RATE * LATE_S + 4 * KIB


def test_tickets_of_a_flow_come_in_order() -> None:
    shaper = Shaper[int](RATE, now_s=0.0)
    for ticket in range(20):
        shaper.ask("a", 1, ticket, now_s=0.0)
    assert shaper.ready(now_s=0.0) == list(range(20))
    assert not shaper.waiting


def test_nobody_waits_means_nothing_is_due() -> None:
    shaper = Shaper[str](RATE, now_s=0.0)
    assert shaper.due_s(now_s=0.0) is None
    assert shaper.ready(now_s=0.0) == []


def test_what_is_withdrawn_is_not_given_and_not_paid_for() -> None:
    shaper = Shaper[str](RATE, now_s=0.0)
    shaper.ask("a", MIB, "whole burst", now_s=0.0)
    assert shaper.ready(now_s=0.0) == ["whole burst"]
    shaper.ask("a", MIB, "unwanted", now_s=0.0)
    shaper.ask("a", 1, "wanted", now_s=0.0)
    shaper.withdraw("a", "unwanted")
    shaper.withdraw("b", "unwanted")
    due_s = shaper.due_s(now_s=0.0) or 0.0
    assert due_s == pytest.approx((MIB - RATE * BURST_S) / RATE)
    assert shaper.ready(now_s=due_s + 0.001) == ["wanted"]
    shaper.ask("a", 1, "last", now_s=1.0)
    shaper.withdraw("a", "last")
    assert not shaper.waiting


def test_a_new_rate_holds_from_now_on_and_keeps_who_waits() -> None:
    shaper = Shaper[str](RATE, now_s=0.0)
    shaper.ask("a", RATE, "first", now_s=0.0)
    shaper.ask("a", 1, "second", now_s=0.0)
    assert shaper.ready(now_s=0.0) == ["first"]
    debt_s = shaper.due_s(now_s=0.0)
    shaper.change(RATE // 100, now_s=0.0)
    assert shaper.rate_bytes_per_s == RATE // 100
    assert shaper.due_s(now_s=0.0) == pytest.approx(debt_s)
    assert shaper.ready(now_s=1.0) == ["second"]
    moved = served(shaper, ["b"], seconds=10.0, size=1 * KIB, start_s=1.0)
    assert moved["b"] == pytest.approx(10 * RATE // 100, rel=0.06)


def test_without_a_rate_everybody_may_go() -> None:
    shaper = Shaper[str](RATE, now_s=0.0)
    for flow in "ab":
        shaper.ask(flow, RATE, flow, now_s=0.0)
    shaper.ready(now_s=0.0)
    assert shaper.drain() == ["b"]
    assert shaper.due_s(now_s=0.0) is None


@given(
    st.lists(
        st.tuples(st.sampled_from("abc"), st.integers(1, 64 * KIB), st.floats(0, 2)), max_size=60
    ),
    st.integers(1000, 10**9),
)
def test_no_more_than_rate_and_burst_is_ever_given_between_two_moments(
    asks: list[tuple[str, int, float]], rate: int
) -> None:
    shaper = Shaper[tuple[int, int]](rate, now_s=0.0)
    now_s, given_bytes = 0.0, 0
    history = [(0.0, 0)]
    largest = 0
    for number, (flow, size, pause_s) in enumerate(asks):
        largest = max(largest, size)
        shaper.ask(flow, size, (number, size), now_s=now_s)
        now_s += pause_s
        given_bytes += sum(size for _, size in shaper.ready(now_s=now_s))
        history.append((now_s, given_bytes))
    for (one_s, one), (other_s, other) in pairwise(history):
        assert other - one <= rate * (other_s - one_s + LATE_S) + largest + 1
    first_s, first = history[0]
    last_s, last = history[-1]
    assert last - first <= rate * (last_s - first_s + LATE_S) + largest + 1
