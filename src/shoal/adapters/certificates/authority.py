"""The cluster's certificate authority: makes itself, signs nodes and operators, revokes.

A name constraint binds it to its cluster: what it signs in another cluster's name is worth nothing
(RFC 5280, 4.2.1.10). It signs directly and nobody below it may sign (path length 0).
"""

import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from shoal.adapters.certificates.certificate import Certificate, read_certificates
from shoal.adapters.certificates.errors import CertificateError
from shoal.adapters.certificates.keys import (
    PrivateKey,
    PublicKey,
    hash_for,
    key_pem,
    make_key,
    read_key,
    usable,
)
from shoal.adapters.certificates.names import alternative_names, subject
from shoal.adapters.certificates.requests import read_request
from shoal.adapters.certificates.revocation import RevocationList, make_list
from shoal.core.trust.identity import Role, cluster_name, node_name

# Clocks of edge nodes are seldom right to the minute: a certificate holds from a while ago on.
CLOCK_SKEW = timedelta(hours=1)
AUTHORITY_DAYS = 3650  # ten years, as kubeadm's: it is replaced on purpose, not by surprise
NODE_DAYS = 365  # as the kubelet's client certificate


@dataclass(frozen=True, slots=True)
class Authority:
    """A certificate with the key that signs by it."""

    certificate: Certificate
    cluster: str
    key: PrivateKey = field(repr=False)

    @classmethod
    def make(
        cls, cluster: str, *, days: float = AUTHORITY_DAYS, now: datetime | None = None
    ) -> "Authority":
        """Return a new authority for `cluster`.

        Raises:
            BadInput: the cluster's name cannot be one.
        """
        cluster_name(cluster)
        now = now or datetime.now(UTC)
        key = make_key()
        # Two authorities of a cluster must be told apart, in messages and by who looks for issuers.
        name = f"{cluster} authority {now:%Y-%m-%d} {secrets.token_hex(3)}"
        distinguished = subject(cluster, name)
        identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
        inside = x509.NameConstraints([x509.UniformResourceIdentifier(cluster)], None)
        signed = (
            _builder(distinguished, distinguished, key.public_key())
            .not_valid_before(now - CLOCK_SKEW)
            .not_valid_after(now + timedelta(days=days))
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_usage(signs=True), critical=True)
            .add_extension(inside, critical=True)
            .add_extension(identifier, critical=False)
            .sign(key, hash_for(key))
        )
        return cls(Certificate(signed), cluster, key)

    @classmethod
    def read(cls, certificate: bytes, key: bytes, *, name: str, key_name: str) -> "Authority":
        """Return the authority whose certificate and key are in PEM.

        Raises:
            CertificateError: one cannot be read, they do not belong together, or the certificate
                is not one of an authority of a cluster.
        """
        own = read_certificates(certificate, name=name)[0]
        private = read_key(key, name=key_name)
        if own.public_key != private.public_key():
            raise CertificateError(f"{key_name}: is not the key of {own.name} in {name}")
        organizations = own.x509.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)
        if not organizations:
            raise CertificateError(
                f"{name}: {own.name} names no cluster as its organization (O=): make it by "
                f"`shoal certs init`"
            )
        return cls(own, cluster_name(str(organizations[0].value)), private)

    @property
    def key_pem(self) -> bytes:
        """The private key, for a file that only its owner reads."""
        return key_pem(self.key)

    def issue(
        self,
        key: object,
        *,
        node: str | None = None,
        addresses: Iterable[str] = (),
        roles: Iterable[Role] = (),
        name: str = "",
        days: float = NODE_DAYS,
        now: datetime | None = None,
    ) -> Certificate:
        """Sign a certificate for the holder of the public key `key`.

        Args:
            key: Ed25519 or P-256.
            node: the node's name; None for an operator's certificate.
            addresses: IP addresses and host names at which other members reach the node.
            roles: what its holder may do beyond exchanging pieces.
            name: for people, where it is no node's.
            days: for which it holds, but no longer than the authority.
            now: the time, UTC.

        Raises:
            BadInput: a name or address that cannot be one.
            CertificateError: the key is of another kind, there is nothing to certify, or the
                authority itself does not hold now.
        """
        now = now or datetime.now(UTC)
        public = usable(key)
        if public is None:
            raise CertificateError("expected an Ed25519 or P-256 key to certify")
        if not self.certificate.not_before <= now < self.certificate.not_after:
            raise CertificateError(
                f"{self.certificate.name} holds from {self.certificate.not_before:%Y-%m-%d} to "
                f"{self.certificate.not_after:%Y-%m-%d} and cannot sign now: `shoal certs rotate` "
                f"makes another"
            )
        names = self._names(node=node, addresses=addresses, roles=roles)
        uses = [ExtendedKeyUsageOID.CLIENT_AUTH]
        if node is not None:
            uses.append(ExtendedKeyUsageOID.SERVER_AUTH)
        issuer = self.certificate.x509
        theirs = issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
        signed = (
            _builder(subject(self.cluster, node or name), issuer.subject, public)
            .not_valid_before(max(now - CLOCK_SKEW, self.certificate.not_before))
            .not_valid_after(min(now + timedelta(days=days), self.certificate.not_after))
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(signs=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage(uses), critical=False)
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(theirs),
                critical=False,
            )
            .sign(self.key, hash_for(self.key))
        )
        return Certificate(signed)

    def sign_request(
        self,
        pem: bytes,
        *,
        node: str,
        addresses: Iterable[str],
        days: float = NODE_DAYS,
        now: datetime | None = None,
    ) -> Certificate:
        """Sign what a node asks for, with the name and addresses that the caller knows to be its.

        Args:
            pem: the request, in PEM.
            node: who the caller has made sure the sender is.
            addresses: what that node may be called.
            days: for which the certificate holds.
            now: the time, UTC.

        Raises:
            BadInput: a name or address that cannot be one.
            CertificateError: the request proves nothing, or asks for more than that.
        """
        addresses = tuple(addresses)
        allowed = self._names(node=node, addresses=addresses, roles=())
        key = read_request(pem, allowed=allowed)
        return self.issue(key, node=node, addresses=addresses, days=days, now=now)

    def revocation_list(
        self, revoked: Mapping[int, datetime], *, now: datetime | None = None
    ) -> RevocationList:
        """Return the signed list of what is `revoked`: serial numbers, and since when."""
        return make_list(self.key, self.certificate, revoked, now=now or datetime.now(UTC))

    def _names(
        self, *, node: str | None, addresses: Iterable[str], roles: Iterable[Role]
    ) -> list[x509.GeneralName]:
        if node is not None:
            node_name(node)
        names = alternative_names(self.cluster, node=node, addresses=addresses, roles=roles)
        if not any(isinstance(name, x509.UniformResourceIdentifier) for name in names):
            raise CertificateError("a certificate needs a node's name or a role")
        return names


def _builder(of: x509.Name, issuer: x509.Name, key: PublicKey) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(of)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
    )


def _usage(*, signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs,
        crl_sign=signs,
        encipher_only=False,
        decipher_only=False,
    )
