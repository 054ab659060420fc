"""Whose certificates are believed: a bundle of authorities, and what they have revoked.

Several authorities are trusted while one takes another's place. All sign certificates directly,
without any in between, so that a chain is one signature.
"""

from dataclasses import dataclass
from datetime import datetime
from functools import cached_property

from cryptography import x509
from cryptography.exceptions import InvalidSignature

from shoal.adapters.certificates.certificate import Certificate, read_certificates
from shoal.adapters.certificates.errors import UNREADABLE, CertificateError
from shoal.adapters.certificates.revocation import RevocationList, read_lists
from shoal.core.trust.identity import Identity, Reason, Refused


@dataclass(frozen=True)
class Trust:
    """Authorities, and the lists of what they revoked; without lists nothing is revoked."""

    authorities: tuple[Certificate, ...]
    lists: tuple[RevocationList, ...] = ()

    @classmethod
    def read(
        cls,
        bundle: bytes,
        revoked: bytes | None = None,
        *,
        name: str = "bundle",
        revoked_name: str = "revocation list",
    ) -> "Trust":
        """Return what PEM files say.

        Raises:
            CertificateError: one cannot be used; the message begins with its name.
        """
        authorities = read_certificates(bundle, name=name)
        for authority in authorities:
            if not _may_sign(authority.x509):
                raise CertificateError(
                    f"{name}: {authority.name} is no certificate authority: the bundle is for "
                    f"those that sign, not for what they signed"
                )
        lists = () if revoked is None else read_lists(revoked, authorities, name=revoked_name)
        return cls(authorities, lists)

    @property
    def bundle_pem(self) -> bytes:
        """All authorities."""
        return b"".join(authority.pem for authority in self.authorities)

    @property
    def lists_pem(self) -> bytes | None:
        """All lists; None if there are none."""
        return b"".join(list_.pem for list_ in self.lists) if self.lists else None

    @cached_property
    def _revoked(self) -> dict[x509.Name, RevocationList]:
        return {list_.issuer.x509.subject: list_ for list_ in self.lists}

    def identity(self, der: bytes, *, now: datetime) -> Identity:
        """Return whose certificate `der` is, having checked that it holds.

        Args:
            der: as TLS or a receipt carries it.
            now: the time, UTC.

        Raises:
            Refused: it does not; the reason says why.
        """
        return self.verified(Certificate.from_der(der), now=now)

    def verified(self, certificate: Certificate, *, now: datetime) -> Identity:
        """As `identity`, for a certificate that was read already."""
        issuer, identity = self.issuer(certificate), certificate.identity
        for holder in (certificate, issuer):
            _require_valid(holder, of=str(identity), now=now)
        if identity.cluster not in _clusters(issuer.x509, default=identity.cluster):
            raise Refused(
                Reason.OTHER_CLUSTER,
                f"the certificate of {identity} was signed by {issuer.name}, which may not sign "
                f"for {identity.cluster}",
            )
        list_ = self._revoked.get(issuer.x509.subject)
        if list_ is not None and certificate.serial in list_.revoked:
            raise Refused(
                Reason.REVOKED,
                f"the certificate of {identity} was revoked at "
                f"{list_.revoked[certificate.serial]:%Y-%m-%d %H:%M} UTC",
            )
        return identity

    def signed(self, certificate: Certificate) -> Identity:
        """Return whose certificate it is, whether or not it holds at this time.

        Raises:
            Refused: no authority of the bundle signed it, or it names nobody.
        """
        self.issuer(certificate)
        return certificate.identity

    def issuer(self, certificate: Certificate) -> Certificate:
        """Return the authority that signed it.

        Raises:
            Refused: none of the bundle's did.
        """
        for authority in self.authorities:
            if authority.x509.subject == certificate.x509.issuer:
                try:
                    certificate.x509.verify_directly_issued_by(authority.x509)
                except (InvalidSignature, *UNREADABLE):
                    continue
                return authority
        raise Refused(
            Reason.OTHER_CLUSTER,
            f"the certificate of {certificate.name} was signed by "
            f"{certificate.x509.issuer.rfc4514_string()[:160]}, which is not trusted: another "
            f"cluster's authority, or one that was dropped",
        )


def _require_valid(certificate: Certificate, *, of: str, now: datetime) -> None:
    if now > certificate.not_after:
        raise Refused(
            Reason.EXPIRED,
            f"the certificate of {of} expired at {certificate.not_after:%Y-%m-%d %H:%M} UTC: "
            f"give it a new one",
        )
    if now < certificate.not_before:
        raise Refused(
            Reason.NOT_YET_VALID,
            f"the certificate of {of} holds from {certificate.not_before:%Y-%m-%d %H:%M} UTC: "
            f"one of the two clocks is wrong",
        )


def _clusters(authority: x509.Certificate, *, default: str) -> list[str]:
    """Return the clusters that an authority's name constraint leaves it; `default` without one."""
    try:
        inside = authority.extensions.get_extension_for_class(x509.NameConstraints).value
    except x509.ExtensionNotFound:
        return [default]
    uris = (x509.UniformResourceIdentifier,)
    permitted = [n.value for n in inside.permitted_subtrees or () if isinstance(n, uris)]
    return permitted or [default]


def _may_sign(certificate: x509.Certificate) -> bool:
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        return False
