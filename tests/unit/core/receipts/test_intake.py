"""Intake: each way in which a receipt can lie, whose fault it is, and that memory is bounded."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

import pytest

from shoal.core.blob import HASH_BYTES, BlobSpec
from shoal.core.peer import PeerId
from shoal.core.receipts import intake as intake_module
from shoal.core.receipts.intake import (
    PENDING,
    Blame,
    CheckCertificate,
    CheckSignature,
    Holder,
    Intake,
    Order,
    Refusal,
    Standing,
    Vouched,
    fingerprint_of,
)
from shoal.core.receipts.receipt import Receipt, statement_of
from shoal.testing.swarm_script import blob

NOW_S = 1.8e9
RELAY, OTHER_RELAY, SIGNER = PeerId("relay"), PeerId("another"), PeerId("signer")
SPEC, OTHER = blob(pieces=20), blob(pieces=20, name="other")
DER, STRANGERS_DER = b"certificate of the signer", b"certificate of a stranger"
HASH, OTHER_HASH = bytes(HASH_BYTES), bytes(range(HASH_BYTES))
HOLDER = Holder(SIGNER, NOW_S + 1000, key="the signer's key")


@dataclass(frozen=True)
class Signed:
    """A signature, as these tests make one: by which certificate, of which words."""

    der: bytes
    words: bytes

    @property
    def data(self) -> bytes:
        """What travels."""
        return (str(hash(self)) + "signature").encode()[:72]


def receipt(
    *,
    spec: BlobSpec = SPEC,
    cluster: str = "edge",
    piece: int = 3,
    hash_: bytes = HASH,
    der: bytes = DER,
    left_s: float = 1000.0,
) -> Receipt:
    unsigned = Receipt(spec.tag, piece, (hash_,), int(NOW_S + left_s), fingerprint_of(der), b"")
    words = statement_of(unsigned, spec, cluster=cluster)
    return replace(unsigned, signature=Signed(der, words).data)


class Node:
    """An intake, and threads that check what it orders: at once, or when told to."""

    def __init__(self, *, holders: dict[bytes, Holder | str] | None = None) -> None:
        self.intake = Intake(cluster="edge")
        self.holders: dict[bytes, Holder | str] = {DER: HOLDER} if holders is None else holders
        self.checked: list[Order] = []

    def carry_out(self, orders: Iterable[Order]) -> None:
        """Check what is ordered, and what follows from it."""
        for order in orders:
            self.checked.append(order)
            match order:
                case CheckCertificate(fingerprint, der):
                    found = self.holders.get(der, "signed by another cluster's authority")
                    self.carry_out(self.intake.certificate_checked(fingerprint, found))
                case CheckSignature(said, words):
                    signed = {Signed(der, words).data: fingerprint_of(der) for der in self.holders}
                    right = signed.get(said.signature) == said.signer
                    self.intake.signature_checked(said, right=right)

    def hear(self, *said: Receipt, der: bytes | None = DER, peer: PeerId = RELAY) -> None:
        """Let `peer` send a certificate and receipts."""
        if der is not None:
            self.carry_out(self.intake.certificate(der))
        for one in said:
            self.carry_out(self.intake.receipt(peer, one, SPEC))

    def standing(
        self, piece: int = 3, hash_: bytes = HASH, *, peer: PeerId = RELAY, now_s: float = NOW_S
    ) -> Standing:
        """Return what is known when the piece's first block comes."""
        return self.intake.standing(peer, SPEC, piece, hash_, now_s=now_s)


def refused(standing: Standing, blame: Blame, reason: str) -> None:
    assert isinstance(standing, Refusal), standing
    assert standing.blame is blame, standing
    assert reason in standing.reason, standing


def test_a_receipt_that_a_member_signed_is_believed_whoever_passes_it_on() -> None:
    node = Node()
    node.hear(receipt())
    assert node.standing() == Vouched(SIGNER, receipt())
    checked = len(node.checked)
    node.hear(receipt(), peer=OTHER_RELAY)
    assert node.standing(peer=OTHER_RELAY) == Vouched(SIGNER, receipt())
    assert len(node.checked) == checked, "it is checked once"


def test_receipts_of_a_blob_that_is_over_are_forgotten_and_no_others() -> None:
    node = Node()
    wrong = replace(receipt(piece=4), signature=b"forged")
    node.hear(receipt(), wrong)
    node.carry_out(node.intake.receipt(RELAY, receipt(spec=OTHER), OTHER))
    node.intake.over(SPEC.tag)
    refused(node.standing(), Blame.RELAY, "without a receipt")
    assert isinstance(node.intake.standing(RELAY, OTHER, 3, HASH, now_s=NOW_S), Vouched)
    checked = len(node.checked)
    node.hear(receipt())
    assert len(node.checked) == checked + 1, "it is checked again"


@pytest.mark.parametrize(
    ("said", "blame", "reason"),
    [
        ([], Blame.RELAY, "without a receipt"),
        ([receipt(piece=4)], Blame.RELAY, "without a receipt"),
        ([receipt(hash_=OTHER_HASH)], Blame.RELAY, "another hash"),
        ([replace(receipt(hash_=OTHER_HASH), hashes=(HASH,))], Blame.RELAY, "did not sign"),
        ([replace(receipt(piece=4), first=3)], Blame.RELAY, "did not sign"),
        ([receipt(cluster="other")], Blame.RELAY, "did not sign"),
        ([replace(receipt(spec=OTHER), tag=SPEC.tag)], Blame.RELAY, "did not sign"),
        ([replace(receipt(left_s=-9), expires_s=int(NOW_S) + 9)], Blame.RELAY, "did not sign"),
        ([replace(receipt(), signature=b"forged")], Blame.RELAY, "did not sign"),
        ([receipt(left_s=-9)], Blame.SIGNER, "expired 9 s ago"),
        ([receipt(left_s=1e9)], Blame.SIGNER, "longer than anybody"),
        ([replace(receipt(), first=2**32 - 1)], Blame.RELAY, "without a receipt"),
    ],
    ids=[
        "none",
        "of another piece",
        "of other bytes",
        "altered hash",
        "altered index",
        "of another cluster",
        "of another blob",
        "altered expiry",
        "forged",
        "expired",
        "for ever",
        "of no piece",
    ],
)
def test_a_lie_is_refused_and_laid_at_the_door_of_who_told_it(
    said: list[Receipt], blame: Blame, reason: str
) -> None:
    node = Node()
    node.hear(*said)
    refused(node.standing(), blame, reason)


def test_a_receipt_of_a_stranger_is_refused_and_so_is_one_of_nobody() -> None:
    node = Node()
    node.hear(receipt(der=STRANGERS_DER), der=STRANGERS_DER)  # as one that it signed for itself
    refused(node.standing(), Blame.SIGNER, "another cluster's authority")
    node.hear(receipt(der=b"never sent"))
    refused(node.standing(), Blame.SIGNER, "it was not sent")


def test_another_members_certificate_does_not_make_a_receipt_right() -> None:
    node = Node(holders={DER: HOLDER, b"another's": Holder(PeerId("another"), NOW_S + 9)})
    node.hear(der=b"another's")
    node.hear(replace(receipt(), signer=fingerprint_of(b"another's")))
    refused(node.standing(), Blame.RELAY, "did not sign")


def test_a_replayed_receipt_says_what_it_said_and_nothing_of_another_blob() -> None:
    node = Node()
    node.hear(receipt())
    other = node.intake.standing(RELAY, OTHER, 3, HASH, now_s=NOW_S)
    refused(other, Blame.RELAY, "without a receipt")
    assert isinstance(node.standing(), Vouched)


def test_what_a_connection_announced_ends_with_it() -> None:
    node = Node()
    node.hear(receipt())
    node.intake.lost(RELAY)
    refused(node.standing(), Blame.RELAY, "without a receipt")


def test_a_certificate_that_ends_takes_its_receipts_along() -> None:
    node = Node()
    node.hear(receipt(left_s=5000))
    refused(node.standing(now_s=NOW_S + 1001), Blame.SIGNER, "whose certificate expired")


def test_a_signer_that_is_revoked_is_believed_no_more_and_nothing_of_it_is_passed_on() -> None:
    node = Node()
    node.hear(receipt())
    orders = node.intake.recheck()
    assert node.standing() is PENDING
    assert node.intake.certificate_of(fingerprint_of(DER)) is None
    node.holders[DER] = "it was revoked"
    node.carry_out(orders)
    refused(node.standing(), Blame.SIGNER, "it was revoked")
    assert node.intake.certificate_of(fingerprint_of(DER)) is None


def test_a_signer_that_stands_a_second_check_is_believed_on() -> None:
    node = Node()
    node.hear(receipt())
    orders = node.intake.recheck()
    node.hear(receipt(piece=5), der=None)
    assert node.standing(5) is PENDING
    node.carry_out(orders)
    assert isinstance(node.standing(), Vouched)
    assert isinstance(node.standing(5), Vouched)
    assert node.intake.certificate_of(fingerprint_of(DER)) == DER


def test_until_threads_have_checked_nothing_is_known() -> None:
    node = Node()
    certificate = node.intake.certificate(DER)
    assert node.intake.certificate(DER) == [], "it is being checked"
    assert node.intake.receipt(RELAY, receipt(), SPEC) == []
    assert node.standing() is PENDING
    (check,) = certificate
    assert isinstance(check, CheckCertificate)
    waiting = node.intake.certificate_checked(check.fingerprint, HOLDER)
    assert node.standing() is PENDING
    assert node.intake.key_of(check.fingerprint) == "the signer's key"
    node.carry_out(waiting)
    assert isinstance(node.standing(), Vouched)


def test_a_certificate_that_is_refused_leaves_nothing_waiting() -> None:
    node = Node(holders={})
    certificate = node.intake.certificate(DER)
    node.intake.receipt(RELAY, receipt(), SPEC)
    node.carry_out(certificate)
    refused(node.standing(), Blame.SIGNER, "another cluster")


def test_a_flood_of_strangers_certificates_costs_no_member_its_own() -> None:
    node = Node()
    node.hear(receipt())
    orders = [
        order
        for number in range(3 * intake_module.UNCHECKED_MOST)
        for order in node.intake.certificate(b"stranger %d" % number)
    ]
    node.carry_out(orders)
    assert isinstance(node.standing(), Vouched)
    assert node.intake.certificate_of(fingerprint_of(DER)) == DER


def test_a_flood_of_receipts_is_kept_within_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intake_module, "ANNOUNCED_MOST", 4)
    monkeypatch.setattr(intake_module, "CHECKING_MOST", 6)
    node = Node()
    node.hear()
    orders: list[Order] = []
    for number in range(20):
        said = receipt(piece=number, left_s=number + 1)
        orders += node.intake.receipt(RELAY, said, SPEC)
    assert len(orders) == 6
    refused(node.standing(3), Blame.RELAY, "without a receipt")
    refused(node.standing(19), Blame.SIGNER, "no time to check")
    node.carry_out(orders)
    node.hear(receipt(piece=19))
    assert isinstance(node.standing(19), Vouched)
