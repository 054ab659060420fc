"""A certificate as the rest of Shoal sees it, read from PEM or from what TLS hands over."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding

from shoal.adapters.certificates.errors import UNREADABLE, CertificateError
from shoal.adapters.certificates.keys import PublicKey, usable, verifies
from shoal.adapters.certificates.names import common_name, identity_of, issuer_common_name
from shoal.core.trust.identity import Identity, Reason, Refused

_PEM = re.compile(rb"-----BEGIN (?P<label>[A-Z0-9 ]+)-----\s.*?-----END (?P=label)-----", re.DOTALL)
# A node's certificate has 700 bytes; TLS of OpenSSL takes a chain of 100 KiB.
_DER_BYTES_MOST = 64 * 1024


@dataclass(frozen=True, slots=True)
class Certificate:
    """One certificate; that it was read says nothing of who signed it."""

    x509: x509.Certificate

    @classmethod
    def from_der(cls, der: bytes) -> "Certificate":
        """Return the certificate in `der`.

        Raises:
            Refused: it is none, or one with a key that Shoal does not take.
        """
        if len(der) > _DER_BYTES_MOST:
            raise Refused(Reason.MALFORMED, f"a certificate of {len(der)} bytes")
        try:
            certificate = _whole(x509.load_der_x509_certificate(der))
        except UNREADABLE:
            raise Refused(Reason.MALFORMED, "what should be a certificate is none") from None
        if certificate._usable_key() is None:
            raise Refused(Reason.MALFORMED, "a certificate whose key is not Ed25519 or P-256")
        return certificate

    @property
    def pem(self) -> bytes:
        """For a file."""
        return self.x509.public_bytes(Encoding.PEM)

    @property
    def der(self) -> bytes:
        """As TLS carries it."""
        return self.x509.public_bytes(Encoding.DER)

    @property
    def identity(self) -> Identity:
        """Who it says its holder is.

        Raises:
            Refused: it does not say so in Shoal's form.
        """
        return identity_of(self.x509)

    @property
    def public_key(self) -> PublicKey:
        """Its holder's.

        Raises:
            CertificateError: it is of a kind that Shoal does not take.
        """
        key = self._usable_key()
        if key is None:
            raise CertificateError(f"{self.name}: expected an Ed25519 or P-256 key")
        return key

    @property
    def name(self) -> str:
        """For people."""
        return common_name(self.x509)

    @property
    def issuer_name(self) -> str:
        """Who it says has signed it, for people."""
        return issuer_common_name(self.x509)

    @property
    def serial(self) -> int:
        """What a revocation list calls it."""
        return self.x509.serial_number

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the certificate, in hexadecimal."""
        return self.x509.fingerprint(SHA256()).hex()

    @property
    def not_before(self) -> datetime:
        """When it begins to hold, UTC."""
        return self.x509.not_valid_before_utc

    @property
    def not_after(self) -> datetime:
        """When it ends to hold, UTC."""
        return self.x509.not_valid_after_utc

    def verifies(self, signature: bytes, message: bytes) -> bool:
        """Return whether its holder signed `message`."""
        return verifies(self.public_key, signature, message)

    def _usable_key(self) -> PublicKey | None:
        try:
            return usable(self.x509.public_key())
        except UNREADABLE:  # of a kind that the library does not know
            return None


def read_certificates(pem: bytes, *, name: str) -> tuple[Certificate, ...]:
    """Return every certificate in `pem`, in order; at least one.

    Args:
        pem: one or more certificates in PEM; other text is passed over.
        name: what messages call it, a path most likely.

    Raises:
        CertificateError: there is none, or one that cannot be read.
    """
    try:
        found = tuple(
            _whole(x509.load_pem_x509_certificate(block))
            for block in pem_blocks(pem, b"CERTIFICATE")
        )
    except UNREADABLE as error:
        raise CertificateError(f"{name}: a certificate in it cannot be read: {error}") from error
    if not found:
        raise CertificateError(f"{name}: expected a certificate in PEM, found none")
    return found


def _whole(certificate: x509.Certificate) -> Certificate:
    """Return `certificate`, having looked at all that the library parses only when it is asked.

    Raises:
        ValueError: a part of it cannot be read, or is not what RFC 5280 allows.
    """
    parts = (certificate.subject, certificate.issuer, certificate.extensions)
    dates = (certificate.not_valid_before_utc, certificate.not_valid_after_utc)
    if certificate.serial_number <= 0:
        raise ValueError("its serial number is not positive")
    del parts, dates
    return Certificate(certificate)


def pem_blocks(pem: bytes, label: bytes) -> Iterator[bytes]:
    """Yield the blocks of this kind in a PEM file, in order."""
    for block in _PEM.finditer(pem):
        if block["label"] == label:
            yield block[0] + b"\n"
