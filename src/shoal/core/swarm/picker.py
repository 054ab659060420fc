"""Which piece next, and from whom."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from shoal.core import bitmap

if TYPE_CHECKING:
    from random import Random


def rarest(candidates: int, holders: Sequence[int], rng: "Random") -> int:
    """Return the piece of `candidates` that the fewest neighbours hold, ties broken at random.

    Ties must be random: where every node breaks them alike, all ask for the same piece first and
    have nothing to give each other.

    Args:
        candidates: bitmap to choose from.
        holders: how many neighbours hold each piece.
        rng: the source of the random choice.

    Raises:
        ValueError: `candidates` is empty.

    Source: Legout, Urvoy-Keller & Michiardi, "Rarest first and choke algorithms are enough",
    IMC 2006.
    """
    best: list[int] = []
    fewest = -1
    for piece in bitmap.members(candidates):
        count = holders[piece]
        if fewest < 0 or count < fewest:
            fewest, best = count, [piece]
        elif count == fewest:
            best.append(piece)
    if not best:
        raise ValueError("no piece to choose from")
    return best[0] if len(best) == 1 else rng.choice(best)
