"""elapsed_s: rather too long than too short, whatever the clocks do."""

from hypothesis import given
from hypothesis import strategies as st

from shoal.core.trust.moments import Moment, elapsed_s

SECONDS = st.floats(0, 1e9)


def test_time_passes_by_both_clocks() -> None:
    assert elapsed_s(Moment("a", 10.0, 1000.0), Moment("a", 15.0, 1005.0)) == 5.0


def test_a_wall_clock_that_is_set_back_makes_nothing_younger() -> None:
    assert elapsed_s(Moment("a", 10.0, 1000.0), Moment("a", 15.0, 100.0)) == 5.0


def test_a_wall_clock_that_is_set_forth_makes_it_older() -> None:
    assert elapsed_s(Moment("a", 10.0, 1000.0), Moment("a", 15.0, 9000.0)) == 8000.0


def test_after_a_boot_the_wall_clock_counts() -> None:
    assert elapsed_s(Moment("a", 500.0, 1000.0), Moment("b", 15.0, 1060.0)) == 60.0


def test_after_a_boot_with_an_earlier_wall_clock_nobody_knows() -> None:
    assert elapsed_s(Moment("a", 500.0, 1000.0), Moment("b", 15.0, 999.0)) is None


@given(boot_s=SECONDS, passed_s=SECONDS, then_s=SECONDS, now_s=SECONDS)
def test_on_one_boot_never_less_than_what_passed(
    boot_s: float, passed_s: float, then_s: float, now_s: float
) -> None:
    then, now = Moment("a", boot_s, then_s), Moment("a", boot_s + passed_s, now_s)
    found = elapsed_s(then, now)
    assert found is not None
    assert found >= (boot_s + passed_s) - boot_s
