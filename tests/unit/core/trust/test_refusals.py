"""Refusals: a later no wins over an earlier question."""

from hypothesis import given
from hypothesis import strategies as st

from shoal.core.trust.refusals import Refusals


def test_a_question_that_was_asked_before_the_refusal_is_too_old() -> None:
    refusals: Refusals[str] = Refusals()
    refusals.note("alice", 10.0)
    assert refusals.is_after("alice", 9.0)
    assert refusals.is_after("alice", 10.0)
    assert not refusals.is_after("alice", 10.1)
    assert not refusals.is_after("bob", 9.0)


@given(st.lists(st.tuples(st.integers(0, 9), st.floats(0, 100)), max_size=40))
def test_what_is_forgotten_for_want_of_room_is_held_against_everybody(
    noted: list[tuple[int, float]],
) -> None:
    refusals: Refusals[int] = Refusals(capacity=3)
    last_s: dict[int, float] = {}
    for key, now_s in sorted(noted, key=lambda pair: pair[1]):
        refusals.note(key, now_s)
        last_s[key] = now_s
    assert len(refusals) <= 3
    for key, refused_s in last_s.items():
        assert refusals.is_after(key, refused_s)
