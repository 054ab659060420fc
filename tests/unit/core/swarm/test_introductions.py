"""Introductions: somebody to relay with, and a holder or two."""

from random import Random

from shoal.core.peer import PeerId
from shoal.core.swarm.introductions import introductions

WANTING = [PeerId(f"w{number}") for number in range(20)]
HOLDING = [PeerId(f"h{number}") for number in range(20)]


def named(wanting: int, holding: int, count: int) -> tuple[int, int]:
    """Return how many of each are named to the first that wants."""
    wants = dict.fromkeys(WANTING[:wanting], True) | dict.fromkeys(HOLDING[:holding], False)
    peers = introductions(wants, asker=WANTING[0], count=count, rng=Random(1))  # noqa: S311
    assert len(set(peers)) == len(peers)
    assert WANTING[0] not in peers
    return sum(wants[peer] for peer in peers), sum(not wants[peer] for peer in peers)


def test_holders_are_a_quarter_of_those_named() -> None:
    assert named(20, 20, 16) == (12, 4)


def test_where_one_kind_is_missing_the_other_is_named() -> None:
    assert named(20, 0, 16) == (16, 0)
    assert named(1, 20, 16) == (0, 16)
    assert named(3, 20, 16) == (2, 14)


def test_nobody_is_named_where_nobody_else_is_there() -> None:
    assert named(1, 0, 16) == (0, 0)
