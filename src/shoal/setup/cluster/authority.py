"""The cluster's authority as the Secret that holds it, and certificates of the set-up's servers."""

import os
import ssl
import tempfile
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from secrets import token_hex

from shoal.adapters.certificates.authority import Authority
from shoal.adapters.certificates.certificate import read_certificates
from shoal.adapters.certificates.keys import key_pem, make_key
from shoal.adapters.kube.api import KubeConflict, KubeConnection
from shoal.core.errors import SettingsError
from shoal.setup.cluster.objects import (
    CERTIFICATE,
    KEY,
    TLS_SECRET,
    collection,
    made,
    opened,
    sealed,
)
from shoal.setup.names import AUTHORITY

SERVER_DAYS = 90


@dataclass(frozen=True, slots=True)
class ServerCertificate:
    """What a server of the set-up shows, in PEM."""

    certificate: bytes
    key: bytes = field(repr=False)

    @property
    def renew_at(self) -> datetime:
        """When a third of its life is left, UTC."""
        held = read_certificates(self.certificate, name="a server's certificate")[0]
        return held.not_after - (held.not_after - held.not_before) / 3

    def load_into(self, context: ssl.SSLContext) -> None:
        """Have `context` show it in handshakes from now on."""
        # OpenSSL takes files alone; /tmp is in memory.
        handle, name = tempfile.mkstemp(prefix="shoal-")  # mode 0600
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(self.key + self.certificate)
            context.load_cert_chain(name)
        finally:
            Path(name).unlink()


async def make_authority(kube: KubeConnection, namespace: str) -> Authority:
    """Return the cluster's authority, made now if there is none.

    Raises:
        CertificateError: what there is cannot be used.
        KubeError: it could not be read or made.
    """
    path = collection(namespace, "secrets")
    if (found := await find_authority(kube, namespace)) is not None:
        return found
    authority = Authority.make(f"shoal-{token_hex(6)}")
    secret = made("Secret", AUTHORITY, namespace) | {
        "type": TLS_SECRET,
        "data": sealed({CERTIFICATE: authority.certificate.pem, KEY: authority.key_pem}),
    }
    try:
        await kube.create(path, secret)
    except KubeConflict:  # another try of this Job was first
        if (found := await find_authority(kube, namespace)) is None:
            raise
        return found
    return authority


async def find_authority(kube: KubeConnection, namespace: str) -> Authority | None:
    """Return the cluster's authority, or None if there is none yet.

    Raises:
        CertificateError: what there is cannot be used.
        KubeError: it could not be read.
    """
    secret = await kube.find(f"{collection(namespace, 'secrets')}/{AUTHORITY}")
    if secret is None:
        return None
    held, name = opened(secret), f"Secret {AUTHORITY}"
    if CERTIFICATE not in held or KEY not in held:
        raise SettingsError(f"{name} lacks {CERTIFICATE} or {KEY}: delete it and run this again")
    return Authority.read(held[CERTIFICATE], held[KEY], name=name, key_name=name)


def server_certificate(
    authority: Authority, service: str, namespace: str, *, now: datetime | None = None
) -> ServerCertificate:
    """Return a new certificate for whoever serves `service`, called as the cluster's DNS does."""
    key = make_key()
    issued = authority.issue(
        key.public_key(),
        node=service,
        addresses=[f"{service}.{namespace}.svc", f"{service}.{namespace}.svc.cluster.local"],
        days=SERVER_DAYS,
        now=now or datetime.now(UTC),
    )
    return ServerCertificate(issued.pem, key_pem(key))


def is_due(certificate: ServerCertificate, *, now: datetime) -> bool:
    """Return whether a certificate is to be renewed."""
    return now >= certificate.renew_at
