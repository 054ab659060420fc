"""A cluster's authority and the files that it gives to nodes, as `shoal certs` would.

For tests and benches whose agents speak TLS with each other, or must refuse to.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from shoal.adapters.certificates.authority import Authority
from shoal.adapters.certificates.certificate import Certificate, read_certificates
from shoal.adapters.certificates.credentials import CredentialFiles
from shoal.adapters.certificates.keys import key_pem, make_key

# As old as the oldest certificate that a test may want.
_AUTHORITY_AGE = timedelta(days=30)


@dataclass(slots=True)
class Cluster:
    """One authority, with a folder for each node that it has given a certificate."""

    folder: Path
    name: str = "test"
    authority: Authority = field(init=False, repr=False)
    _revoked: dict[int, datetime] = field(default_factory=dict, init=False, repr=False)
    _issued: dict[str, CredentialFiles] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        self.authority = Authority.make(self.name, now=datetime.now(UTC) - _AUTHORITY_AGE)

    def issue(
        self,
        node: str,
        addresses: Iterable[str],
        *,
        days: float = 1.0,
        now: datetime | None = None,
    ) -> CredentialFiles:
        """Write a certificate for `node`, and all that goes with it; over the one before.

        Args:
            node: its name.
            addresses: at which its peers know it.
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
            key.public_key(), node=node, addresses=addresses, days=days, now=now
        )
        _replace(files.key, key_pem(key))
        _replace(files.certificate, certificate.pem)
        _replace(files.ca, self.authority.certificate.pem)
        self._issued[node] = files
        self._write_list(files)
        return files

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
        for files in self._issued.values():
            self._write_list(files)

    def _write_list(self, files: CredentialFiles) -> None:
        assert files.revoked is not None
        _replace(files.revoked, self.authority.revocation_list(self._revoked).pem)


def settings_of(files: CredentialFiles) -> dict[str, str]:
    """Return `peer.tls` of an agent's settings, for these files."""
    return {
        "certificate": str(files.certificate),
        "key": str(files.key),
        "ca": str(files.ca),
        "revoked": str(files.revoked),
    }


def _replace(path: Path, content: bytes) -> None:
    """Write a file as a whole: an agent may be about to read it."""
    temporary = path.with_suffix(".new")
    temporary.touch(mode=0o600)
    temporary.write_bytes(content)
    temporary.replace(path)
