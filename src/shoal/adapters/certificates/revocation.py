"""Lists of revoked certificates (X.509 CRLs), each signed by the authority whose they were.

A list holds until its authority's certificate ends: it is carried to the nodes as a file, and one
that nobody replaces for a month must not stop a site that has lost its control plane.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from shoal.adapters.certificates.certificate import Certificate, pem_blocks
from shoal.adapters.certificates.errors import UNREADABLE, CertificateError
from shoal.adapters.certificates.keys import PrivateKey, hash_for


@dataclass(frozen=True, slots=True)
class RevocationList:
    """One authority's list, its signature checked."""

    pem: bytes
    issuer: Certificate
    revoked: Mapping[int, datetime]  # serial number -> when


def make_list(
    key: PrivateKey, issuer: Certificate, revoked: Mapping[int, datetime], *, now: datetime
) -> RevocationList:
    """Return the list of `issuer`, signed by its `key`."""
    began = max(issuer.not_before, min([now, *revoked.values()]))
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(issuer.x509.subject)
        .last_update(began)
        .next_update(issuer.not_after)
        .add_extension(x509.CRLNumber(int(now.timestamp() * 1000)), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(
                issuer.x509.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
            ),
            critical=False,
        )
    )
    for serial, at in sorted(revoked.items()):
        entry = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(at).build()
        builder = builder.add_revoked_certificate(entry)
    signed = builder.sign(key, hash_for(key))
    return RevocationList(signed.public_bytes(Encoding.PEM), issuer, dict(revoked))


def read_lists(
    pem: bytes, authorities: Iterable[Certificate], *, name: str
) -> tuple[RevocationList, ...]:
    """Return the lists in `pem` that these authorities signed; others mean nothing here.

    Args:
        pem: one or more lists in PEM.
        authorities: whose lists count.
        name: what messages call it, a path most likely.

    Raises:
        CertificateError: one cannot be read, claims an authority that did not sign it, or an
            authority has none: then nobody could tell which of its certificates still hold.
    """
    by_issuer = {authority.x509.subject: authority for authority in authorities}
    latest: dict[x509.Name, tuple[int, RevocationList]] = {}
    try:
        for block in pem_blocks(pem, b"X509 CRL"):
            crl = x509.load_pem_x509_crl(block)
            issuer = by_issuer.get(crl.issuer)
            if issuer is None:
                continue
            if not crl.is_signature_valid(issuer.public_key):
                raise CertificateError(
                    f"{name}: the list of {issuer.name} was not signed by it: copy it again"
                )
            number = _number(crl)
            if crl.issuer not in latest or number >= latest[crl.issuer][0]:
                revoked = {entry.serial_number: entry.revocation_date_utc for entry in crl}
                latest[crl.issuer] = number, RevocationList(block, issuer, revoked)
    except UNREADABLE as error:
        if isinstance(error, CertificateError):
            raise
        raise CertificateError(f"{name}: a list in it cannot be read: {error}") from error
    for subject, authority in by_issuer.items():
        if subject not in latest:
            raise CertificateError(
                f"{name}: has no list of {authority.name}, which is trusted: copy the file that "
                f"belongs to the bundle, or leave the setting out"
            )
    return tuple(list_ for _, list_ in latest.values())


def _number(crl: x509.CertificateRevocationList) -> int:
    try:
        return crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number
    except x509.ExtensionNotFound:
        return 0
