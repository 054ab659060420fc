"""Which piece next: how many neighbours hold each, and the rarest of some."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from random import Random


@dataclass(slots=True)
class Rarity:
    """How many neighbours hold each piece of a blob.

    Kept as one bitmap for each number of holders, so that the rarest of many pieces is found by a
    few operations on whole bitmaps, and a neighbour's whole bitmap is counted at once.
    """

    pieces: int  # bitmap of all pieces of the blob
    levels: list[int] = field(init=False)  # [n]: bitmap of the pieces that n neighbours hold

    def __post_init__(self) -> None:
        self.levels = [self.pieces]

    def add(self, pieces: int) -> None:
        """One neighbour more holds each of `pieces`."""
        levels, raised = self.levels, 0
        for number, level in enumerate(levels):
            moved = level & pieces
            if moved or raised:
                levels[number] = level ^ moved | raised
            pieces ^= moved
            raised = moved
            if not pieces and not raised:
                return
        if raised:
            levels.append(raised)

    def remove(self, pieces: int) -> None:
        """One neighbour fewer holds each of `pieces`, all of which somebody held."""
        levels = self.levels
        for number in range(1, len(levels)):
            moved = levels[number] & pieces
            if moved:
                levels[number] ^= moved
                levels[number - 1] |= moved
                pieces ^= moved
                if not pieces:
                    return

    def holders(self, piece: int) -> int:
        """Return how many neighbours hold `piece`."""
        return next(n for n, level in enumerate(self.levels) if level >> piece & 1)

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
