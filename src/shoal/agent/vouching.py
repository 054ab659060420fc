"""Who vouches for the pieces that this node sends and receives: certificates, or nobody.

Keys and signatures are used in worker threads. What follows from them is decided in
`shoal.core.receipts`; here its orders are carried out.
"""

import logging
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Protocol

from shoal.adapters.certificates.certificate import Certificate
from shoal.adapters.certificates.credentials import Credentials
from shoal.adapters.certificates.keys import PublicKey, verifies
from shoal.adapters.certificates.peer_credentials import PeerCredentials
from shoal.adapters.telemetry.metrics import Metrics
from shoal.agent.workers import Workers
from shoal.core.blob import BlobSpec, BlobTag
from shoal.core.peer import PeerId
from shoal.core.receipts.intake import (
    CERTIFICATES_MOST,
    PENDING,
    CheckCertificate,
    CheckSignature,
    Holder,
    Intake,
    Order,
    Standing,
    Vouched,
    fingerprint_of,
)
from shoal.core.receipts.receipt import LIFETIME_S, Receipt, statement
from shoal.core.receipts.vouchers import Vouchers
from shoal.core.trust.identity import Identity, Reason, Refused
from shoal.core.wire.messages import HASH_ALONE, WITH_RECEIPTS, Message, SignerCertificate

_log = logging.getLogger("shoal.agent.vouching")

# What to say to a peer before a piece, or None: nobody vouches for it, so that it is not sent.
Words = tuple[Message, ...] | None
Told = Callable[[Words], None]


class Vouching(Protocol):
    """What the driver asks before it sends a piece, and before it takes one."""

    @property
    def protocol(self) -> int:
        """What this node's Hello names."""
        ...

    def vouch(self, peer: PeerId, vouchers: Vouchers, piece: int, told: Told) -> None:
        """Find out what to say to `peer` before `piece`; `told` may be called at once."""
        ...

    def heard(
        self, peer: PeerId, message: SignerCertificate | Receipt, spec: BlobSpec | None
    ) -> None:
        """`peer` said something for later pieces; `spec` is the blob it is about, if wanted."""
        ...

    def standing(self, peer: PeerId, spec: BlobSpec, piece: int, hash_: bytes) -> Standing:
        """Return whether to believe that `piece` has this hash."""
        ...

    def forget(self, peer: PeerId) -> None:
        """The connection to `peer` is gone, or another one."""
        ...

    def over(self, tag: BlobTag) -> None:
        """No more pieces of this blob are taken."""
        ...

    def unvouched(self, vouchers: Vouchers) -> int:
        """Return the bitmap of the pieces at hand that are not for peers."""
        ...


class HashAlone:
    """Between peers without certificates: a piece has the hash that its sender says."""

    protocol = HASH_ALONE

    def vouch(self, peer: PeerId, vouchers: Vouchers, piece: int, told: Told) -> None:
        """Say nothing more than the hash."""
        told(())

    def heard(self, peer: PeerId, message: Message, spec: BlobSpec | None) -> None:
        """Pass it over."""

    def standing(
        self,
        peer: PeerId,
        spec: BlobSpec,
        piece: int,
        hash_: bytes,
    ) -> Standing:
        """Believe it: the whole blob's digest tells in the end."""
        return Vouched()

    def forget(self, peer: PeerId) -> None:
        """Nothing was kept."""

    def over(self, tag: BlobTag) -> None:
        """Nothing was kept."""

    def unvouched(self, vouchers: Vouchers) -> int:
        """All are: each is hashed again when it is read."""
        return 0


class WithReceipts:
    """Between peers with certificates: a piece has the hash that a member signed for."""

    protocol = WITH_RECEIPTS

    def __init__(
        self,
        credentials: PeerCredentials,
        *,
        workers: Workers,
        metrics: Metrics,
        members: Callable[[], Iterable[PeerId]],
        checked: Callable[[], None],
        wall_s: Callable[[], float] = lambda: datetime.now(UTC).timestamp(),
    ) -> None:
        """Use what is in force.

        Args:
            credentials: this node's, and whose it believes.
            workers: where signatures are made and checked.
            metrics: told of both.
            members: the site's, to tell which of them a certificate is of.
            checked: called when a standing that was pending may not be any more.
            wall_s: Unix time.
        """
        self._credentials = credentials
        self._workers = workers
        self._members = members
        self._checked = checked
        self._wall_s = wall_s
        self._intake = Intake(cluster=credentials.identity.cluster)
        self._own = _Own(credentials.current)
        self._said: dict[PeerId, set[bytes]] = {}  # the certificates that each peer has from here
        self._signing: dict[bytes, list[_Signing]] = {}
        self._awaited = False
        self._signed = metrics.receipts_signed
        self._right = metrics.receipts_checked.labels(result="right")
        self._wrong = metrics.receipts_checked.labels(result="wrong")
        credentials.when_changed(self._credentials_changed)

    # --- out ----------------------------------------------------------------------------------

    def vouch(self, peer: PeerId, vouchers: Vouchers, piece: int, told: Told) -> None:
        """Take the receipt that the piece came with, or sign for it if this node can."""
        receipt = vouchers.fresh(piece, now_s=self._wall_s())
        if receipt is not None and (words := self._words(peer, receipt)) is not None:
            told(words)
        elif not vouchers.own >> piece & 1:
            told(None)
        else:
            self._sign(peer, vouchers, piece, told)

    def _words(self, peer: PeerId, receipt: Receipt) -> Words:
        signer = receipt.signer
        own = signer == self._own.fingerprint
        der = self._own.der if own else self._intake.certificate_of(signer)
        if der is None:
            return None  # signed before this node's certificate changed, or by one that was revoked
        said = self._said.setdefault(peer, set())
        if signer in said:
            return (receipt,)
        if len(said) >= CERTIFICATES_MOST:
            said.clear()  # they are sent once more
        said.add(signer)
        return (SignerCertificate(der), receipt)

    def _sign(self, peer: PeerId, vouchers: Vouchers, piece: int, told: Told) -> None:
        tag = vouchers.spec.tag
        for signing in self._signing.get(tag, ()):
            if signing.covers(piece):
                signing.waiting.append((peer, told))
                return
        first, hashes = vouchers.batch(piece)
        signing = _Signing(first, len(hashes), [(peer, told)])
        self._signing.setdefault(tag, []).append(signing)

        def signed(receipt: Receipt | None, error: BaseException | None) -> None:
            self._signing[tag].remove(signing)
            if not self._signing[tag]:
                del self._signing[tag]
            if receipt is None:
                _log.error("receipt_not_signed", extra={"error": repr(error)})
            else:
                self._signed.inc()
                vouchers.keep(receipt)
            for peer, told in signing.waiting:
                told(None if receipt is None else self._words(peer, receipt))

        expires_s = int(self._wall_s() + LIFETIME_S)
        self._workers.submit(
            self._own.receipt, vouchers.spec, first, hashes, expires_s, told=signed
        )

    # --- in -----------------------------------------------------------------------------------

    def heard(
        self, peer: PeerId, message: SignerCertificate | Receipt, spec: BlobSpec | None
    ) -> None:
        """Have it checked, in time for the pieces that it is for."""
        if isinstance(message, SignerCertificate):
            self._carry_out(self._intake.certificate(message.der))
        elif spec is not None:
            self._carry_out(self._intake.receipt(peer, message, spec))

    def standing(self, peer: PeerId, spec: BlobSpec, piece: int, hash_: bytes) -> Standing:
        """Return what is known of the piece's receipt."""
        standing = self._intake.standing(peer, spec, piece, hash_, now_s=self._wall_s())
        self._awaited |= standing is PENDING
        return standing

    def forget(self, peer: PeerId) -> None:
        """The connection to `peer` is gone, or another one."""
        self._said.pop(peer, None)
        self._intake.lost(peer)

    def over(self, tag: BlobTag) -> None:
        """Forget the receipts of its pieces."""
        self._intake.over(tag)

    def unvouched(self, vouchers: Vouchers) -> int:
        """Return those whose receipts a restart has lost."""
        return vouchers.unvouched

    def _carry_out(self, orders: list[Order]) -> None:
        for order in orders:
            match order:
                case CheckCertificate():
                    self._check_certificate(order)
                case CheckSignature():
                    self._check_signature(order)

    def _check_certificate(self, order: CheckCertificate) -> None:
        def checked(found: tuple[Identity, PublicKey] | None, error: BaseException | None) -> None:
            if found is None:
                _log.warning("signer_refused", extra={"reason": str(error)})
                told: Holder | str = str(error)
            else:
                identity, key = found
                told = Holder(self._signer(identity), identity.not_after_s, key)
            self._carry_out(self._intake.certificate_checked(order.fingerprint, told))
            self._look_again()

        self._workers.submit(_node_of, self._credentials.current, order.der, told=checked)

    def _check_signature(self, order: CheckSignature) -> None:
        receipt = order.receipt

        def checked(right: bool | None, _: BaseException | None) -> None:
            (self._right if right else self._wrong).inc()
            self._intake.signature_checked(receipt, right=bool(right))
            self._look_again()

        key = self._intake.key_of(receipt.signer)
        self._workers.submit(verifies, key, receipt.signature, order.statement, told=checked)

    def _look_again(self) -> None:
        if self._awaited:
            self._awaited = False
            self._checked()

    def _signer(self, identity: Identity) -> PeerId:
        """Return what the site calls the holder: as a member, or by its name if it is none."""
        for member in self._members():
            if member.rpartition(":")[0].strip("[]") in identity.addresses:
                return member
        return PeerId(str(identity.node))

    def _credentials_changed(self) -> None:
        self._own = _Own(self._credentials.current)
        self._carry_out(self._intake.recheck())


class _Signing:
    """Adjacent pieces that are being signed for, and who waits for it."""

    __slots__ = ("_count", "_first", "waiting")

    def __init__(self, first: int, count: int, waiting: list[tuple[PeerId, Told]]) -> None:
        self._first, self._count, self.waiting = first, count, waiting

    def covers(self, piece: int) -> bool:
        """Whether `piece` is one of them."""
        return self._first <= piece < self._first + self._count


class _Own:
    """What this node signs with."""

    __slots__ = ("_credentials", "der", "fingerprint")

    def __init__(self, credentials: Credentials) -> None:
        self._credentials = credentials
        self.der = credentials.certificate.der
        self.fingerprint = fingerprint_of(self.der)

    def receipt(
        self, spec: BlobSpec, first: int, hashes: tuple[bytes, ...], expires_s: int
    ) -> Receipt:
        """Sign for adjacent pieces; call it in a thread."""
        words = statement(
            self._credentials.identity.cluster,
            spec,
            first=first,
            hashes=hashes,
            expires_s=expires_s,
        )
        signature = self._credentials.sign(words)
        return Receipt(spec.tag, first, hashes, expires_s, self.fingerprint, signature)


def _node_of(credentials: Credentials, der: bytes) -> tuple[Identity, PublicKey]:
    """Return whose certificate it is, and what checks its signatures; call it in a thread.

    Raises:
        Refused: it is no node's of this cluster, or does not hold.
    """
    identity = credentials.accept(der)
    if identity.node is None:
        raise Refused(Reason.NOT_THE_MEMBER, f"the certificate of {identity} is no node's")
    return identity, Certificate.from_der(der).public_key
