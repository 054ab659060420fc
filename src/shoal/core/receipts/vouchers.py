"""What a node vouches for itself, and which pieces it signs for together."""

from dataclasses import dataclass, field

from shoal.core import bitmap
from shoal.core.blob import MIB, BlobSpec
from shoal.core.receipts.receipt import BATCH_MOST, RENEW_BEFORE_S, Receipt


@dataclass(slots=True)
class Vouchers:
    """The receipts of one blob's pieces, and the pieces that this node can sign for."""

    spec: BlobSpec
    hashes: dict[int, bytes] = field(default_factory=dict)
    receipts: dict[int, Receipt] = field(default_factory=dict)
    own: int = 0
    """Bitmap of the pieces that this node fetched from the registry; of a blob whose digest it has
    checked, all of them."""

    @classmethod
    def of_whole(cls, spec: BlobSpec, hashes: dict[int, bytes] | None = None) -> "Vouchers":
        """Return those of a blob that this node has checked: it signs for all of it."""
        return cls(spec, {} if hashes is None else hashes, {}, bitmap.full(spec.pieces))

    @property
    def unvouched(self) -> int:
        """Bitmap of the pieces at hand that nobody vouches for: a restart lost their receipts."""
        vouched = self.own
        for piece in self.receipts:
            vouched |= 1 << piece
        return sum(1 << piece for piece in self.hashes if not vouched >> piece & 1)

    def fresh(self, piece: int, *, now_s: float) -> Receipt | None:
        """Return the receipt of `piece` if it lasts for a while."""
        receipt = self.receipts.get(piece)
        if receipt is not None and receipt.expires_s - now_s > RENEW_BEFORE_S:
            return receipt
        return None

    def keep(self, receipt: Receipt) -> None:
        """Remember a receipt of this node's for each piece that it covers."""
        for piece in range(receipt.first, receipt.first + len(receipt.hashes)):
            self.receipts[piece] = receipt

    def batch(self, piece: int) -> tuple[int, tuple[bytes, ...]]:
        """Return the first and the hashes of the adjacent pieces to sign for with `piece`.

        Batches do not overlap where all of a blob is at hand: each begins at a multiple of their
        length, so that a receiver sees few. Pieces of a mebibyte and more are signed for one by
        one: a signature is little beside them.
        """
        most = BATCH_MOST if self.spec.piece_bytes < MIB or self._is_whole else 1
        low = piece - piece % most
        high = min(low + most, self.spec.pieces)
        first = last = piece
        while first > low and self._is_due(first - 1):
            first -= 1
        while last + 1 < high and self._is_due(last + 1):
            last += 1
        return first, tuple(self.hashes[n] for n in range(first, last + 1))

    @property
    def _is_whole(self) -> bool:
        return self.own == bitmap.full(self.spec.pieces)

    def _is_due(self, piece: int) -> bool:
        """Whether this node signs for `piece`, knows its hash and has not signed for it yet."""
        mine = bool(self.own >> piece & 1)
        return mine and piece in self.hashes and piece not in self.receipts
