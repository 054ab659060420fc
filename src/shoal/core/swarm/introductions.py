"""Whom to name to a node that asks for others which want or have the blob that it wants."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from shoal.core.peer import PeerId

if TYPE_CHECKING:
    from random import Random


def introductions(
    wants: Mapping[PeerId, bool], *, asker: PeerId, count: int, rng: "Random"
) -> tuple[PeerId, ...]:
    """Return up to `count` of these nodes, at random; True is said of who wants the blob.

    A wanting node gains most from others that want too: they are who relays. Holders make up a
    quarter, so that a lone seeder is not asked by all.
    """
    wanting = [peer for peer, wanted in wants.items() if wanted and peer != asker]
    holding = [peer for peer, wanted in wants.items() if not wanted and peer != asker]
    holders = min(len(holding), max(count // 4, count - len(wanting)))
    wanters = min(len(wanting), count - holders)
    return (*rng.sample(wanting, wanters), *rng.sample(holding, holders))
