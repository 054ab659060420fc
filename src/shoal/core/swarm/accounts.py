"""What members signed about a blob that came wrong, and which of them may have lied.

Whoever vouches for a piece says what its hash is. When a whole blob was wrong, somebody said what
was not true, but not who; so the pieces are fetched once more, each by another node, and what the
two say is compared. That costs one more copy of the blob for the whole site. The reckoning assumes
that one member lies, or was lied to by the registry; where no single one can explain what was said,
nobody is believed.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from shoal.core.peer import PeerId

# Signers of one piece that are remembered: two find out that one of them is wrong, a third which.
SAID_MOST = 8


@dataclass(slots=True)
class Accounts:
    """Of one blob: who said what of each piece, and who may be the liar."""

    me: PeerId
    times: int = 0  # that the blob came wrong
    said: dict[int, dict[PeerId, bytes]] = field(default_factory=dict)
    suspects: frozenset[PeerId] = frozenset()  # each of them alone could explain everything

    def came_wrong(
        self, vouched: Mapping[int, tuple[PeerId, bytes]], *, is_all: bool = True
    ) -> None:
        """The whole blob was wrong, and these were its pieces: one of the signers lied.

        Where these are not all of its pieces, since a restart lost who vouched for the others, it
        may have been anybody: what was said is remembered, and nobody is suspected for it.
        """
        for piece, (signer, hash_) in vouched.items():
            self.hear(piece, signer, hash_)
        if not is_all:
            return
        signers = frozenset(signer for signer, _ in vouched.values())
        self.suspects = self.suspects & signers if self.times else signers
        self.times += 1
        self.suspects = self._consistent(self.suspects, self.said)

    def hear(self, piece: int, signer: PeerId, hash_: bytes) -> bool:
        """`signer` says what the piece's hash is; return whether fewer can be the liar now."""
        before = self.suspects
        if self.said.get(piece, {}).get(signer, hash_) != hash_:
            # It said something else before: what it said then stays what it is held to.
            self.suspects = frozenset((signer,))
        else:
            self._note(piece, signer, hash_)
            self.suspects = self._consistent(before, (piece,))
        return self.suspects != before

    def believes(self, piece: int, signer: PeerId, hash_: bytes) -> bool:
        """Return whether to take a piece with this hash from wherever it comes."""
        if signer == self.me:
            return True
        said = self.said.get(piece, {})
        suspects = self._after(piece, signer, hash_)
        if liar := self._only(suspects):
            return signer != liar
        others = [said_ for other, said_ in said.items() if other != signer]
        if others:
            return hash_ in others  # two agree, and one liar is all there is
        return signer not in said

    @property
    def liar(self) -> PeerId | None:
        """The one member that explains everything, if it is only one, and not this node."""
        liar = self._only(self.suspects)
        return liar if liar != self.me else None

    @property
    def misled(self) -> bool:
        """Whether that one is this node, to which its registry lies."""
        return self._only(self.suspects) == self.me

    def liars(self, right: Mapping[int, bytes]) -> dict[PeerId, list[int]]:
        """Return who said something else than `right`, the hashes of the blob as it is, of what."""
        found: dict[PeerId, list[int]] = {}
        for piece, said in sorted(self.said.items()):
            for signer, hash_ in said.items():
                if piece in right and hash_ != right[piece]:
                    found.setdefault(signer, []).append(piece)
        return found

    def _only(self, suspects: frozenset[PeerId]) -> PeerId | None:
        """Return the one of `suspects` that is left.

        This node believes itself before another, until the blob was wrong again: then its registry
        may be what lies.
        """
        if len(suspects) == 2 and self.me in suspects:
            (other,) = suspects - {self.me}
            return other if self.times < 2 else self.me
        return next(iter(suspects)) if len(suspects) == 1 else None

    def _after(self, piece: int, signer: PeerId, hash_: bytes) -> frozenset[PeerId]:
        """Return who could be the liar if `signer` said so."""
        said = {**self.said.get(piece, {}), signer: hash_}
        if self.said.get(piece, {}).get(signer, hash_) != hash_:
            return frozenset((signer,))
        return frozenset(s for s in self.suspects if _agree(said, without=s))

    def _note(self, piece: int, signer: PeerId, hash_: bytes) -> None:
        said = self.said.setdefault(piece, {})
        if len(said) < SAID_MOST:
            said.setdefault(signer, hash_)

    def _consistent(self, suspects: frozenset[PeerId], pieces: Iterable[int]) -> frozenset[PeerId]:
        for piece in pieces:
            said = self.said.get(piece, {})
            if not _agree(said):
                suspects = frozenset(s for s in suspects if _agree(said, without=s))
        return suspects


def _agree(said: Mapping[PeerId, bytes], *, without: PeerId | None = None) -> bool:
    """Whether all but `without` say the same."""
    return len({hash_ for signer, hash_ in said.items() if signer != without}) <= 1
