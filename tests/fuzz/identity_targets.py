"""Targets that ask who somebody is: certificates, requests for them, lists of revoked ones.

The library that parses them is not ours and not instrumented; what is tried is what Shoal makes of
whatever it returns or raises.
"""

import base64
import contextlib
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from shoal.adapters.certificates.authority import Authority
from shoal.adapters.certificates.certificate import Certificate
from shoal.adapters.certificates.errors import CertificateError
from shoal.adapters.certificates.keys import read_key
from shoal.adapters.certificates.names import alternative_names
from shoal.adapters.certificates.revocation import read_lists
from shoal.adapters.certificates.trust import Trust
from shoal.core.blob import BlobSpec
from shoal.core.digest import Digest
from shoal.core.errors import PeerFault
from shoal.core.peer import PeerId
from shoal.core.receipts.intake import (
    PENDING,
    CheckCertificate,
    CheckSignature,
    Holder,
    Intake,
    Order,
    Refusal,
    Vouched,
)
from shoal.core.receipts.receipt import AHEAD_MOST_S, Receipt
from shoal.core.trust.identity import Refused, claims_of
from shoal.core.wire.codec import FrameReader
from shoal.core.wire.messages import SignerCertificate

_CLUSTER = "fuzz"
_AUTHORITY = Authority.make(_CLUSTER)
_TRUST = Trust((_AUTHORITY.certificate,), (_AUTHORITY.revocation_list({}),))
_NOW = datetime.now(UTC)
_NOW_S = 1_800_000_000.0
_NAMES = alternative_names(_CLUSTER, node="n1", addresses=("10.0.0.1",), roles=())
_LABELS = (b"CERTIFICATE", b"X509 CRL", b"PRIVATE KEY")
_PEERS = (PeerId("10.0.0.1:65002"), PeerId("10.0.0.2:65002"))
_SPEC = BlobSpec("registry.example.com", Digest("sha256", "0" * 64), 9_000_000)


def certificate(data: bytes) -> None:
    """A certificate as TLS or a receipt carries it; nobody of another authority is believed."""
    with contextlib.suppress(Refused):
        Certificate.from_der(data)
    with contextlib.suppress(Refused):
        # Whatever the input became, none of it was signed by this authority but its own.
        identity = _TRUST.identity(data, now=_NOW)
        assert identity.cluster == _CLUSTER, identity


def claims(data: bytes) -> None:
    """The names in a certificate, one a line; what was accepted names one cluster."""
    with contextlib.suppress(Refused):
        found = claims_of(data.decode("latin-1").split("\n"))
        assert found.cluster
        assert found.node is None or "/" not in found.node


def certificate_files(data: bytes) -> None:
    """The files of `shoal certs`; the first byte picks: a bundle, a list of revoked, a key."""
    if data:
        _read_file(data[0] % len(_LABELS), data[1:])


def certificate_parts(data: bytes) -> None:
    """The same, from the bytes inside the PEM: gets past its armour, which is seldom found."""
    if data:
        kind = data[0] % len(_LABELS)
        _read_file(kind, _armoured(_LABELS[kind], data[1:]))


def _read_file(kind: int, pem: bytes) -> None:
    with contextlib.suppress(CertificateError):
        match kind:
            case 0:
                assert Trust.read(pem).authorities
            case 1:
                assert read_lists(pem, _TRUST.authorities, name="file")
            case _:
                read_key(pem, name="file")


def certificate_request(data: bytes) -> None:
    """A node's request for a certificate, and the bytes inside one; it gets no name but its own."""
    for pem in (data, _armoured(b"CERTIFICATE REQUEST", data)):
        with contextlib.suppress(CertificateError):
            signed = _AUTHORITY.sign_request(pem, node="n1", addresses=("10.0.0.1",))
            names = signed.x509.extensions.get_extension_for_class(x509.SubjectAlternativeName)
            assert list(names.value) == _NAMES
            assert signed.x509.public_bytes(Encoding.DER)


def receipts(data: bytes) -> None:
    """What two peers say of pieces, answered in any order; nothing unproven is believed.

    Each line is one step: a byte that says what, and a frame or a choice.
    """
    intake = Intake(cluster=_CLUSTER)
    open_orders: list[Order] = []
    proven: set[Receipt] = set()
    certified: set[bytes] = set()
    for step in data.split(b"\n\n"):
        kind, rest = step[:1], step[1:]
        peer = _PEERS[len(rest) % 2]
        if kind in (b"c", b"r"):
            open_orders += _heard(intake, peer, rest)
        elif kind == b"l":
            intake.lost(peer)
        elif kind == b"d":
            certified.clear()
            open_orders += intake.recheck()
        elif kind in (b"y", b"n") and open_orders:
            order = open_orders.pop((rest[0] if rest else 0) % len(open_orders))
            right = kind == b"y"
            match order:
                case CheckCertificate(fingerprint):
                    (certified.add if right else certified.discard)(fingerprint)
                    found = Holder(_PEERS[0], _NOW_S + 60) if right else "is another cluster's"
                    open_orders += intake.certificate_checked(fingerprint, found)
                case CheckSignature(receipt):
                    if right:
                        proven.add(receipt)
                    intake.signature_checked(receipt, right=right)
        for piece in range(3):
            for hash_ in (b"\0" * 32, rest[-32:].ljust(32, b"\0")):
                standing = intake.standing(peer, _SPEC, piece, hash_, now_s=_NOW_S)
                if isinstance(standing, Vouched):
                    believed = standing.receipt
                    assert believed is not None
                    assert believed in proven, believed
                    assert believed.hash_of(piece) == hash_
                    assert believed.expires_s - _NOW_S <= AHEAD_MOST_S
                else:
                    assert standing is PENDING or isinstance(standing, Refusal)


def _heard(intake: Intake, peer: PeerId, frame: bytes) -> list[Order]:
    frames = FrameReader()
    frames.feed(frame)
    try:
        message = frames.next()
    except PeerFault:
        return []
    if isinstance(message, SignerCertificate):
        return intake.certificate(message.der)
    if isinstance(message, Receipt):
        # As its tag names it: the input cannot be expected to find sixteen bytes.
        return intake.receipt(peer, replace(message, tag=_SPEC.tag), _SPEC)
    return []


def _armoured(label: bytes, der: bytes) -> bytes:
    return b"-----BEGIN %b-----\n%b-----END %b-----\n" % (label, base64.encodebytes(der), label)


IDENTITY_TARGETS: tuple[Callable[[bytes], None], ...] = (
    certificate,
    claims,
    certificate_files,
    certificate_parts,
    certificate_request,
    receipts,
)
