"""Rarest first, ties at random."""

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shoal.core import bitmap
from shoal.core.swarm.picker import Rarity

RNG = Random(1)  # noqa: S311  (not for secrets)


def held_by(*neighbours: int, pieces: int = 8) -> Rarity:
    """What is known when each of some neighbours holds a bitmap."""
    rarity = Rarity(pieces)
    for held in neighbours:
        rarity.add(held)
    return rarity


def test_the_piece_that_fewest_hold_is_chosen() -> None:
    assert held_by(0b1111, 0b1011, 0b0001).rarest(0b1111, RNG) == 2


def test_a_piece_that_is_no_candidate_is_not_chosen_however_rare() -> None:
    assert held_by(0b1011, 0b1011, 0b0001).rarest(0b1011, RNG) in (1, 3)


def test_ties_are_broken_at_random() -> None:
    # Where every node broke them alike, all would ask for the same piece first.
    everything = held_by(bitmap.full(8))
    assert {everything.rarest(bitmap.full(8), RNG) for _ in range(200)} == set(range(8))


def test_no_candidate_is_an_error() -> None:
    with pytest.raises(ValueError, match="no piece"):
        held_by(1).rarest(0, RNG)


def test_a_neighbour_that_goes_is_counted_no_more() -> None:
    rarity = held_by(0b11, 0b01)
    rarity.remove(0b01)
    assert rarity.holders[:3] == [1, 1, 0]


@settings(deadline=None)
@given(st.lists(st.integers(0, bitmap.full(20)), max_size=12), st.data())
def test_nothing_rarer_is_passed_over(neighbours: list[int], data: st.DataObject) -> None:
    rarity = held_by(*neighbours, pieces=20)
    gone = data.draw(st.integers(0, len(neighbours)))
    for held in neighbours[:gone]:
        rarity.remove(held)
    count = [sum(held >> piece & 1 for held in neighbours[gone:]) for piece in range(20)]
    rarity.check(count)
    candidates = data.draw(st.integers(1, bitmap.full(20)))
    piece = rarity.rarest(candidates, RNG)
    assert candidates >> piece & 1
    assert count[piece] == min(count[other] for other in bitmap.members(candidates))
