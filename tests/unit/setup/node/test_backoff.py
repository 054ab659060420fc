"""Backoff: pauses double to a bound, by chance shorter, never shorter than was asked for."""

from shoal.setup.node.backoff import Backoff


def test_pauses_double_to_five_minutes_and_begin_anew() -> None:
    backoff = Backoff(lambda: 1.0)
    assert [backoff.failed() for _ in range(9)] == [2, 4, 8, 16, 32, 64, 128, 256, 300]
    backoff.succeeded()
    assert backoff.failed() == 2


def test_chance_takes_up_to_half_and_nothing_of_what_was_asked_for() -> None:
    assert Backoff(lambda: 0.0).failed() == 1
    assert Backoff(lambda: 0.0).failed(60) == 60


def test_a_year_of_failures_is_no_large_number() -> None:
    backoff = Backoff(lambda: 1.0, failures=16)
    for _ in range(100_000):
        assert backoff.failed() == 300
