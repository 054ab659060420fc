"""Which piece next: how many neighbours hold each, and the rarest of some."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from shoal.core import bitmap

if TYPE_CHECKING:
    from random import Random


@dataclass(slots=True)
class Rarity:
    """How many neighbours hold each piece of a blob.

    Kept as one bitmap for each number of holders too, so that the rarest of many pieces is found by
    a few operations on whole bitmaps.
    """

    pieces: int  # how many the blob has
    holders: list[int] = field(init=False)  # [piece]: how many neighbours hold it
    levels: list[int] = field(init=False)  # [n]: bitmap of the pieces that n neighbours hold

    def __post_init__(self) -> None:
        self.holders = [0] * self.pieces
        self.levels = [bitmap.full(self.pieces)]

    def add(self, pieces: int) -> None:
        """One neighbour more holds each of `pieces`."""
        holders, levels = self.holders, self.levels
        while pieces:
            bit = pieces & -pieces
            pieces ^= bit
            piece = bit.bit_length() - 1
            number = holders[piece]
            holders[piece] = above = number + 1
            levels[number] ^= bit
            if above == len(levels):
                levels.append(bit)
            else:
                levels[above] |= bit

    def remove(self, pieces: int) -> None:
        """One neighbour fewer holds each of `pieces`, all of which somebody held."""
        holders, levels = self.holders, self.levels
        for piece in bitmap.members(pieces):
            number = holders[piece]
            holders[piece] = number - 1
            levels[number] ^= 1 << piece
            levels[number - 1] |= 1 << piece

    def rarest(self, candidates: int, rng: "Random") -> int:
        """Return the piece of `candidates` that the fewest neighbours hold, ties at random.

        Ties must be random: where every node breaks them alike, all ask for the same piece first
        and have nothing to give each other.

        Args:
            candidates: bitmap to choose from.
            rng: the source of the random choice.

        Raises:
            ValueError: `candidates` is empty.

        Source: Legout, Urvoy-Keller & Michiardi, "Rarest first and choke algorithms are enough",
        IMC 2006.
        """
        for level in self.levels:
            best = level & candidates
            if best:
                break
        else:
            raise ValueError("no piece to choose from")
        if best & (best - 1):
            for _ in range(rng.choice(range(best.bit_count()))):
                best &= best - 1
        return (best & -best).bit_length() - 1

    def check(self, counted: list[int]) -> None:
        """Assert that so many hold each piece; tests and the simulator call this."""
        assert self.holders == counted
        for number, level in enumerate(self.levels):
            assert level == sum(1 << piece for piece, n in enumerate(counted) if n == number)
