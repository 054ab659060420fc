"""What a node shows its peers and asks of them: its certificate and key, and whom it trusts.

The files are read once, checked as a whole, and given to OpenSSL as they were checked: it wants
paths, so it gets one to memory, and a file that is swapped meanwhile changes nothing.
"""

import os
import ssl
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from shoal.adapters.certificates.certificate import Certificate, read_certificates
from shoal.adapters.certificates.errors import CertificateError
from shoal.adapters.certificates.files import read
from shoal.adapters.certificates.keys import PrivateKey, key_pem, read_key, sign
from shoal.adapters.certificates.trust import Trust
from shoal.core.peer import PeerId
from shoal.core.trust.identity import Identity, Reason, Refused


@dataclass(frozen=True, slots=True)
class CredentialFiles:
    """Where a node's credentials are; each may be a symbolic link, as in Kubernetes' volumes."""

    certificate: Path
    key: Path
    ca: Path
    revoked: Path | None = None

    @property
    def all(self) -> tuple[Path, ...]:
        """Every file there is."""
        files = (self.certificate, self.key, self.ca)
        return files if self.revoked is None else (*files, self.revoked)


@dataclass(frozen=True)
class Credentials:
    """One node's certificate, its key, and whom it trusts; never changes."""

    certificate: Certificate
    trust: Trust
    identity: Identity
    server_context: ssl.SSLContext = field(repr=False)
    client_context: ssl.SSLContext = field(repr=False)
    key: PrivateKey = field(repr=False)

    @classmethod
    def read(cls, files: CredentialFiles, *, alpn: Sequence[str] = ()) -> "Credentials":
        """Read and check the files. Blocks on the disk.

        An expired certificate is taken, for the time may be what is wrong: `require_valid` tells.

        Args:
            files: where they are.
            alpn: the protocols that connections may speak, best first.

        Raises:
            CertificateError: a file cannot be read or used, or they do not belong together; the
                message begins with the file's path.
        """
        ca, revoked = read(files.ca), None if files.revoked is None else read(files.revoked)
        trust = Trust.read(ca, revoked, name=str(files.ca), revoked_name=str(files.revoked))
        certificate = read_certificates(read(files.certificate), name=str(files.certificate))[0]
        key = read_key(read(files.key, private=True), name=str(files.key))
        if certificate.public_key != key.public_key():
            raise CertificateError(
                f"{files.key}: is not the key of the certificate in {files.certificate}: they are "
                f"made and replaced together"
            )
        try:
            identity = trust.signed(certificate)
        except Refused as refused:
            raise CertificateError(f"{files.certificate}: {refused}") from refused
        if identity.node is None:
            raise CertificateError(
                f"{files.certificate}: is no node's certificate: make one by "
                f"`shoal certs issue --node NAME --address ADDRESS`"
            )
        made = [
            _context(protocol, certificate, key, trust, alpn=alpn)
            for protocol in (ssl.PROTOCOL_TLS_SERVER, ssl.PROTOCOL_TLS_CLIENT)
        ]
        return cls(certificate, trust, identity, made[0], made[1], key)

    def require_valid(self, *, now: datetime) -> None:
        """Refuse credentials that peers would refuse.

        Raises:
            Refused: the certificate has expired, does not hold yet, or was revoked.
        """
        self.trust.verified(self.certificate, now=now)

    def accept(
        self, der: bytes | None, *, peer: PeerId | None = None, now: datetime | None = None
    ) -> Identity:
        """Return who the other end of a connection is, or refuse it.

        To be called after every handshake, on both ends, before anything that the other end sent
        is acted on; and again for connections that stand when these credentials are replaced.

        Args:
            der: the certificate that it showed, None for none.
            peer: the member that it must be; None where any node or operator may call.
            now: the time, UTC.

        Raises:
            Refused: it is not; the reason says why.
        """
        if not der:
            raise Refused(Reason.NONE, "showed no certificate")
        identity = self.trust.identity(der, now=now or datetime.now(UTC))
        if identity.cluster != self.identity.cluster:
            raise Refused(
                Reason.OTHER_CLUSTER,
                f"the certificate of {identity} is for another cluster than this node's, "
                f"{self.identity.cluster}",
            )
        if peer is not None:
            identity.require_member(peer)
        return identity

    def sign(self, message: bytes) -> bytes:
        """Return this node's signature of `message`, as `Certificate.verifies` checks it."""
        return sign(self.key, message)


def _context(
    protocol: int, certificate: Certificate, key: PrivateKey, trust: Trust, *, alpn: Sequence[str]
) -> ssl.SSLContext:
    context = ssl.SSLContext(protocol)
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_3
    context.verify_mode = ssl.CERT_REQUIRED
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    context.options |= ssl.OP_NO_COMPRESSION
    if protocol == ssl.PROTOCOL_TLS_SERVER:
        # A resumed session would not be checked against the list of revoked certificates.
        context.num_tickets = 0
    if alpn:
        context.set_alpn_protocols(list(alpn))
    with _in_memory(certificate.pem) as chain, _in_memory(key_pem(key)) as private:
        context.load_cert_chain(chain, private)
    with _in_memory(trust.bundle_pem + (trust.lists_pem or b"")) as authorities:
        context.load_verify_locations(authorities)
    if trust.lists:
        context.verify_flags |= ssl.VERIFY_CRL_CHECK_LEAF
    return context


@contextmanager
def _in_memory(content: bytes) -> Iterator[str]:
    """Give a path at which OpenSSL finds `content`, which is on no disk."""
    descriptor = os.memfd_create("shoal")
    try:
        os.write(descriptor, content)
        yield f"/proc/self/fd/{descriptor}"
    finally:
        os.close(descriptor)
