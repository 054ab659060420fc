"""Rarest first, ties at random."""

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shoal.core import bitmap
from shoal.core.swarm.picker import rarest

RNG = Random(1)  # noqa: S311  (not for secrets)


def test_the_piece_that_fewest_hold_is_chosen() -> None:
    assert rarest(0b1111, [3, 2, 1, 2], RNG) == 2


def test_a_piece_that_is_no_candidate_is_not_chosen_however_rare() -> None:
    assert rarest(0b1011, [3, 2, 0, 2], RNG) in (1, 3)


def test_ties_are_broken_at_random() -> None:
    # Where every node broke them alike, all would ask for the same piece first.
    chosen = {rarest(bitmap.full(8), [1] * 8, RNG) for _ in range(200)}
    assert chosen == set(range(8))


def test_no_candidate_is_an_error() -> None:
    with pytest.raises(ValueError, match="no piece"):
        rarest(0, [1], RNG)


@settings(deadline=None)
@given(st.lists(st.integers(0, 5), min_size=1, max_size=40), st.data())
def test_nothing_rarer_is_passed_over(holders: list[int], data: st.DataObject) -> None:
    candidates = data.draw(st.integers(1, bitmap.full(len(holders))))
    piece = rarest(candidates, holders, RNG)
    assert candidates >> piece & 1
    assert holders[piece] == min(holders[other] for other in bitmap.members(candidates))
