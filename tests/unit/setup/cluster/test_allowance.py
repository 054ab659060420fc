"""How often somebody may ask."""

from shoal.setup.cluster.allowance import Allowances


def test_a_bucket_is_emptied_and_fills_with_time() -> None:
    allowances = Allowances(burst=2, per_s=0.5)
    assert [allowances.take("a", now_s=0) for _ in range(3)] == [0, 0, 2]
    assert allowances.take("b", now_s=0) == 0  # each has its own
    assert allowances.take("a", now_s=1) == 1
    assert allowances.take("a", now_s=2) == 0
    assert [allowances.take("a", now_s=1000) for _ in range(3)] == [0, 0, 2]


def test_who_was_not_heard_of_for_longest_is_forgotten() -> None:
    allowances = Allowances(burst=1, per_s=0.001, most=2)
    for key in ("a", "b", "a", "c"):
        allowances.take(key, now_s=0)
    assert allowances.take("a", now_s=0) > 0
    assert allowances.take("b", now_s=0) == 0
