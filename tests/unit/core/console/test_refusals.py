"""Which refused calls are recorded."""

from hypothesis import given
from hypothesis import strategies as st

from shoal.core.console import refusals
from shoal.core.console.refusals import EACH, MAX_IN_WINDOW, WINDOW_S, Kind, Refusals

A = Kind("LTAI", "10.0.0.1", "GetInstance")


def test_the_first_of_a_kind_are_recorded_and_the_rest_counted() -> None:
    kept = Refusals()
    assert sum(kept.is_recorded(A, now_s=0) for _ in range(EACH + 7)) == EACH
    assert kept.ended(now_s=WINDOW_S - 1) == []
    assert kept.ended(now_s=WINDOW_S) == [(A, 7)]
    assert kept.ended(now_s=WINDOW_S) == []
    assert kept.is_recorded(A, now_s=WINDOW_S)


def test_another_caller_is_not_hidden_by_the_first() -> None:
    kept = Refusals()
    for _ in range(1000):
        kept.is_recorded(A, now_s=0)
    assert kept.is_recorded(Kind("LTAI", "10.0.0.2", "GetInstance"), now_s=0)


def test_kinds_are_bounded() -> None:
    kept = Refusals()
    many = refusals.MAX_KINDS + 10
    recorded = sum(kept.is_recorded(Kind("x", f"{number}", "y"), now_s=0) for number in range(many))
    assert recorded == MAX_IN_WINDOW
    assert sum(count for _, count in kept.ended(now_s=WINDOW_S)) == (
        refusals.MAX_KINDS - MAX_IN_WINDOW
    )


@given(
    st.lists(
        st.tuples(st.integers(0, 3), st.integers(0, 40)),
        max_size=300,
    )
)
def test_no_minute_has_more_lines_than_a_database_bears(calls: list[tuple[int, int]]) -> None:
    kept = Refusals()
    now_s, recorded, left_out, told = 0, 0, 0, 0
    for kind, later_s in calls:
        now_s += later_s
        told += sum(count for _, count in kept.ended(now_s=now_s))
        if kept.is_recorded(Kind(str(kind), "", ""), now_s=now_s):
            recorded += 1
        else:
            left_out += 1
    told += sum(count for _, count in kept.ended(now_s=now_s + WINDOW_S))
    assert recorded + left_out == len(calls)
    assert told == left_out
