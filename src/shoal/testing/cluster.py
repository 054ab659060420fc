"""A cluster's authority and the files that it gives to nodes, as `shoal certs` would.

For tests and benches whose agents speak TLS with each other, or must refuse to.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from shoal.adapters.certificates.authority import Authority
from shoal.adapters.certificates.certificate import Certificate, read_certificates
from shoal.adapters.certificates.credentials import CredentialFiles, Credentials
from shoal.adapters.certificates.files import SECRET, write
from shoal.adapters.certificates.keys import key_pem, make_key
from shoal.core.trust.identity import Role

# As old as the oldest certificate that a test may want.
_AUTHORITY_AGE = timedelta(days=500)


@dataclass(slots=True)
class Cluster:
    """An authority, whom it is trusted with, and a folder for each node that has a certificate."""

    folder: Path
    name: str = "test"
    authority: Authority = field(init=False, repr=False)
    retired: list[Authority] = field(default_factory=list, init=False, repr=False)
    """Who signs no more and is trusted still."""
    _revoked: dict[int, datetime] = field(default_factory=dict, init=False, repr=False)
    _issued: dict[str, CredentialFiles] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        self.authority = Authority.make(self.name, now=datetime.now(UTC) - _AUTHORITY_AGE)

    def issue(
        self,
        node: str,
        addresses: Iterable[str],
        *,
        roles: Iterable[Role] = (),
        days: float = 30.0,
        now: datetime | None = None,
    ) -> CredentialFiles:
        """Write a certificate for `node`, and all that goes with it; over the one before.

        Args:
            node: its name.
            addresses: at which its peers know it.
            roles: what it may do beyond exchanging pieces.
            days: for which it holds.
            now: from when on, UTC.
        """
        folder = self.folder / node
        folder.mkdir(parents=True, exist_ok=True)
        files = CredentialFiles(
            certificate=folder / "tls.crt",
            key=folder / "tls.key",
            ca=folder / "ca.crt",
            revoked=folder / "revoked.crl",
        )
        key = make_key()
        certificate = self.authority.issue(
            key.public_key(), node=node, addresses=addresses, roles=roles, days=days, now=now
        )
        write(files.key, key_pem(key), mode=SECRET, replace=True)
        write(files.certificate, certificate.pem, replace=True)
        self._issued[node] = files
        self.tell(node)
        return files

    def credentials(self, node: str, *addresses: str, now: datetime | None = None) -> Credentials:
        """Issue a certificate for `node`; return what its agent makes of the files."""
        return Credentials.read(self.issue(node, addresses, now=now))

    def files(self, node: str) -> CredentialFiles | None:
        """Return the files of `node`, if it has got any."""
        return self._issued.get(node)

    def certificate(self, node: str) -> Certificate:
        """Return the certificate that `node` has."""
        path = self._issued[node].certificate
        return read_certificates(path.read_bytes(), name=str(path))[0]

    def revoke(self, node: str) -> None:
        """Let every node know that the certificate of `node` is no longer good."""
        self._revoked[self.certificate(node).serial] = datetime.now(UTC)
        self.tell_all()

    def rotate(self) -> None:
        """Have another authority sign from now on; who `tell` is called for trusts both."""
        self.retired.append(self.authority)
        self.authority = Authority.make(self.name, now=datetime.now(UTC) - _AUTHORITY_AGE)

    def tell_all(self) -> None:
        """Give every node what is trusted and revoked now."""
        for node in self._issued:
            self.tell(node)

    def tell(self, node: str) -> None:
        """Give `node` what is trusted and revoked now."""
        files = self._issued[node]
        trusted = [self.authority, *self.retired]
        lists = b"".join(one.revocation_list(self._revoked).pem for one in trusted)
        assert files.revoked is not None
        write(files.revoked, lists, replace=True)
        write(files.ca, b"".join(one.certificate.pem for one in trusted), replace=True)


def settings_of(files: CredentialFiles) -> dict[str, str]:
    """Return `peer.tls` of an agent's settings, for these files."""
    return {
        "certificate": str(files.certificate),
        "key": str(files.key),
        "ca": str(files.ca),
        "revoked": str(files.revoked),
    }
