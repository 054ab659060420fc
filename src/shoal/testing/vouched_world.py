"""A world in virtual time whose nodes have certificates: a piece goes with who signed which hash.

An insider signs for other bytes than the registry's, when and for what a test says. Signatures cost
no time here, and nobody forges one: what is tried is what the swarm makes of lies that are signed.
"""

from collections import defaultdict
from typing import TYPE_CHECKING, Any

from shoal.core.blob import BlobSpec, BlobTag
from shoal.core.peer import PeerId
from shoal.core.swarm import effects as do
from shoal.core.swarm import events as on
from shoal.core.swarm.events import REGISTRY
from shoal.testing.swarm_world import Node, World, _Flow

if TYPE_CHECKING:
    from collections.abc import Callable

RIGHT = b"right"
Word = tuple[PeerId, bytes]  # who vouches, for which hash


class VouchedWorld(World):
    """Nodes with certificates."""

    def __init__(self, **settings: Any) -> None:  # noqa: ANN401 - as `World` has them
        """Make a world of honest nodes; see `World`."""
        self.lies: dict[PeerId, Callable[[int], bool]] = {}
        """Of insiders: whether to lie about a piece, when it is for them to vouch for it."""
        self.misled: set[PeerId] = set()
        """Of those who lie: whose registry does, so that they believe it themselves."""
        self.named: dict[PeerId, set[PeerId]] = defaultdict(set)
        """Whom each node has named as the one who brought in wrong bytes."""
        self._words: dict[tuple[PeerId, BlobTag], dict[int, Word]] = defaultdict(dict)
        super().__init__(**settings)

    def _word(self, source: PeerId, tag: BlobTag, piece: int) -> Word:
        """Return with whose word `source` sends a piece."""
        signer, hash_ = self._words[source, tag].get(piece, (source, RIGHT))
        node = self.nodes[source]
        if tag in node.finished_s or tag in node.swarm.holds.specs:
            signer, hash_ = source, RIGHT  # it has checked the whole
        if signer == source and source not in self.misled and self.lies.get(source, _never)(piece):
            hash_ = _wrong_of(source)
        return signer, hash_

    def _take(self, name: PeerId, node: Node, flow: _Flow, piece: int) -> None:
        tag, source = flow.spec.tag, flow.source
        exchange = node.swarm.exchanges.get(tag)
        neighbour = exchange.neighbours.get(source) if exchange is not None else None
        if neighbour is not None and piece in neighbour.asked:
            signer, hash_ = self._word(source, tag, piece)
            if not node.swarm.arrivals.believes(tag, piece, signer, hash_):
                self.tell(name, on.PieceDisbelieved(tag, piece, source, signer, hash_))
                return
        super()._take(name, node, flow, piece)

    def _stored_event(
        self, name: PeerId, spec: BlobSpec, piece: int, source: PeerId
    ) -> on.PieceStored:
        if source != REGISTRY:
            word = self._word(source, spec.tag, piece)
        elif name in self.misled and self.lies[name](piece):
            word = name, _wrong_of(name)
        else:
            word = name, RIGHT
        self._words[name, spec.tag][piece] = word
        if word[1] != RIGHT:
            self.nodes[name].wrong.setdefault(spec.tag, {})[piece] = source
        return on.PieceStored(spec.tag, piece, source, *word)

    def _check(self, name: PeerId, node: Node, spec: BlobSpec) -> None:
        if spec.tag in node.wrong:
            del self._words[name, spec.tag]
        super()._check(name, node, spec)

    def _do(self, name: PeerId, node: Node, effect: do.Effect) -> None:
        if isinstance(effect, do.NameSigner):
            self.named[name].add(effect.signer)
        else:
            super()._do(name, node, effect)


def _wrong_of(liar: PeerId) -> bytes:
    return f"wrong, by {liar}".encode()


def _never(_: int) -> bool:
    return False
