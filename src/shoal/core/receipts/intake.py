"""Receipts that peers send: from bytes to "this node vouches for that hash", or why not.

Checking a certificate or a signature takes a thread, so it is ordered, and told when it is done.
Whoever asks meanwhile hears `PENDING`, and is told to look again.
"""

# A certificate is sent once a connection, by whoever passes on a receipt of its holder; a receipt
# before each piece that it covers. Each is checked once, from whomever it came first: certificates
# by their fingerprint, receipts as the whole of what they say. What turned out to be wrong is not
# remembered, or strangers could fill this memory; what is right is signed by members.

from collections import OrderedDict
from dataclasses import dataclass
from enum import Enum, auto
from hashlib import sha256
from typing import Any, TypeVar

from shoal.core.blob import BlobSpec, BlobTag
from shoal.core.peer import PeerId
from shoal.core.receipts.receipt import Receipt, statement_of

CERTIFICATES_MOST = 4096  # nodes of a site, and those that came before them
UNCHECKED_MOST = 256  # certificates that wait for their check
ANNOUNCED_MOST = 128  # receipts of a peer whose pieces have not begun: it is asked for 32 pieces
CHECKING_MOST = 2048  # receipts at a time
WRONG_MOST = 256  # receipts that nobody signed, remembered until their pieces begin
PROVEN_MOST = 4096  # of all blobs that arrive now: two of the longest


class Blame(Enum):
    """Whose fault it is that a piece is not believed."""

    RELAY = auto()  # whoever sent it: it must have checked this itself
    SIGNER = auto()  # whoever signed it, or nobody: the relay may not know it yet


@dataclass(frozen=True, slots=True)
class Refusal:
    """A piece is not believed."""

    reason: str
    blame: Blame
    signer: PeerId | None = None  # if it is known


@dataclass(frozen=True, slots=True)
class Vouched:
    """A piece is believed: `signer` vouches for it; nobody where peers have no certificates."""

    signer: PeerId | None = None
    receipt: Receipt | None = None


class Pending(Enum):
    """Nothing is known yet: look again when something was checked."""

    PENDING = auto()


Kept = TypeVar("Kept", Receipt, bytes)

PENDING = Pending.PENDING
Standing = Vouched | Refusal | Pending


@dataclass(frozen=True, slots=True)
class CheckCertificate:
    """Find out whether the cluster's authority stands for it; tell `certificate_checked`."""

    fingerprint: bytes
    der: bytes


@dataclass(frozen=True, slots=True)
class CheckSignature:
    """Find out whether the holder of this certificate signed; tell `signature_checked`."""

    receipt: Receipt
    statement: bytes


Order = CheckCertificate | CheckSignature


@dataclass(frozen=True, slots=True)
class Holder:
    """Whose certificate it is, and until when."""

    signer: PeerId
    not_after_s: float  # Unix time
    key: object = None  # what its signatures are checked with; nothing that core looks into


@dataclass(slots=True)
class _Known:
    """A certificate that was right when it was checked last."""

    der: bytes
    holder: Holder
    doubted: bool = False  # it is being checked again


class Intake:
    """What this node knows of receipts, certificates and signatures."""

    def __init__(self, *, cluster: str) -> None:
        self._cluster = cluster
        self._known: OrderedDict[bytes, _Known] = OrderedDict()
        self._unchecked: OrderedDict[bytes, bytes] = OrderedDict()
        self._waiting: dict[bytes, list[CheckSignature]] = {}  # by a certificate that is not known
        self._refused: OrderedDict[bytes, str] = OrderedDict()  # certificates, and why
        self._announced: dict[PeerId, OrderedDict[tuple[BlobTag, int], Receipt]] = {}
        self._checking: set[Receipt] = set()
        self._proven: OrderedDict[Receipt, None] = OrderedDict()
        self._wrong: OrderedDict[Receipt, None] = OrderedDict()

    # --- what peers send ----------------------------------------------------------------------

    def certificate(self, der: bytes) -> list[Order]:
        """A peer sends a signer's certificate: have it checked, unless it was."""
        fingerprint = fingerprint_of(der)
        if fingerprint in self._known or fingerprint in self._unchecked:
            return []
        if len(self._unchecked) >= UNCHECKED_MOST:
            self._forget(next(iter(self._unchecked)))
        self._unchecked[fingerprint] = der
        return [CheckCertificate(fingerprint, der)]

    def receipt(self, peer: PeerId, receipt: Receipt, spec: BlobSpec) -> list[Order]:
        """A peer sends a receipt of a blob that is wanted here: have it checked, unless it was."""
        announced = self._announced.setdefault(peer, OrderedDict())
        for piece in range(receipt.first, receipt.first + len(receipt.hashes)):
            announced[receipt.tag, piece] = receipt
            announced.move_to_end((receipt.tag, piece))
        while len(announced) > ANNOUNCED_MOST:
            announced.popitem(last=False)
        if receipt in self._proven or receipt in self._checking:
            return []
        if len(self._checking) >= CHECKING_MOST:
            return []
        order = CheckSignature(receipt, statement_of(receipt, spec, cluster=self._cluster))
        known = self._known.get(receipt.signer)
        if known is not None and not known.doubted:
            self._checking.add(receipt)
            return [order]
        if known is not None or receipt.signer in self._unchecked:
            self._checking.add(receipt)
            self._waiting.setdefault(receipt.signer, []).append(order)
        return []

    def lost(self, peer: PeerId) -> None:
        """The connection to `peer` is gone, and what it announced with it."""
        self._announced.pop(peer, None)

    def over(self, tag: BlobTag) -> None:
        """No more of this blob is taken: its receipts are of no use any more."""
        for announced in self._announced.values():
            for key in [key for key in announced if key[0] == tag]:
                del announced[key]
        for kept in (self._proven, self._wrong):
            for receipt in [receipt for receipt in kept if receipt.tag == tag]:
                del kept[receipt]

    # --- what was found out -------------------------------------------------------------------

    def certificate_checked(self, fingerprint: bytes, found: Holder | str) -> list[Order]:
        """Take note of whose certificate it is, or of why it is refused."""
        known = self._known.get(fingerprint)
        der = known.der if known is not None else self._unchecked.get(fingerprint)
        if der is None:
            return []
        if isinstance(found, str):
            self._forget(fingerprint)
            self._refused[fingerprint] = found
            _bound(self._refused, CERTIFICATES_MOST)
            return []
        self._unchecked.pop(fingerprint, None)
        self._refused.pop(fingerprint, None)
        self._known[fingerprint] = _Known(der, found)
        _bound(self._known, CERTIFICATES_MOST)
        return list(self._waiting.pop(fingerprint, []))

    def signature_checked(self, receipt: Receipt, *, right: bool) -> None:
        """Take note of whether a receipt is signed by whom it names."""
        self._checking.discard(receipt)
        self._wrong.pop(receipt, None)
        kept, most = (self._proven, PROVEN_MOST) if right else (self._wrong, WRONG_MOST)
        kept[receipt] = None
        _bound(kept, most)

    def recheck(self) -> list[Order]:
        """Authorities or revocations are others now: have every certificate checked again."""
        for known in self._known.values():
            known.doubted = True
        return [CheckCertificate(print_, known.der) for print_, known in self._known.items()]

    def _forget(self, fingerprint: bytes) -> None:
        self._known.pop(fingerprint, None)
        self._unchecked.pop(fingerprint, None)
        for order in self._waiting.pop(fingerprint, []):
            self._checking.discard(order.receipt)

    # --- what is asked ------------------------------------------------------------------------

    def standing(
        self, peer: PeerId, spec: BlobSpec, piece: int, hash_: bytes, *, now_s: float
    ) -> Standing:
        """Return whether to believe that `piece` has the hash that `peer` says it has.

        Args:
            peer: who sends it.
            spec: the blob.
            piece: which one.
            hash_: as the head of its first block says it.
            now_s: Unix time.
        """
        announced = self._announced.get(peer)
        receipt = announced.get((spec.tag, piece)) if announced is not None else None
        if receipt is None:
            return Refusal("comes without a receipt", Blame.RELAY)
        if receipt.hash_of(piece) != hash_:
            return Refusal("has another hash than its receipt says", Blame.RELAY)
        if (fault := receipt.fault(spec, now_s=now_s)) is not None:
            return Refusal(f"has a receipt that {fault}", Blame.SIGNER)
        known = self._known.get(receipt.signer)
        if receipt in self._checking or (known is not None and known.doubted):
            return PENDING
        if known is None:
            reason = self._refused.get(receipt.signer, "it was not sent")
            return Refusal(
                f"is signed with a certificate that does not count: {reason}", Blame.SIGNER
            )
        holder = known.holder
        if holder.not_after_s < now_s:
            return Refusal(f"is signed by {holder.signer}, whose certificate expired", Blame.SIGNER)
        if receipt in self._wrong:
            return Refusal("has a receipt that its signer did not sign", Blame.RELAY)
        if receipt not in self._proven:
            return Refusal("has a receipt that there was no time to check", Blame.SIGNER)
        return Vouched(holder.signer, receipt)

    def key_of(self, fingerprint: bytes) -> object | None:
        """Return what to check a signer's signatures with, if its certificate stands."""
        known = self._known.get(fingerprint)
        return None if known is None else known.holder.key

    def certificate_of(self, fingerprint: bytes) -> bytes | None:
        """Return the certificate with which to pass on a receipt, if it still stands."""
        known = self._known.get(fingerprint)
        return None if known is None or known.doubted else known.der


def fingerprint_of(der: bytes) -> bytes:
    """Return by what receipts name a signer: the SHA-256 of its certificate."""
    return sha256(der).digest()


def _bound(kept: "OrderedDict[Kept, Any]", most: int) -> None:
    """Forget the oldest beyond `most`."""
    while len(kept) > most:
        kept.popitem(last=False)
