"""A cluster's certificates in a folder, for tests and for the nodes of the test bed."""

from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

from shoal.adapters.certificates.authority import NODE_DAYS, Authority
from shoal.adapters.certificates.certificate import Certificate
from shoal.adapters.certificates.credentials import CredentialFiles, Credentials
from shoal.adapters.certificates.keys import key_pem, make_key
from shoal.core.trust.identity import Role


class ClusterCertificates:
    """An authority, whom it is trusted with, and the nodes that it has signed."""

    def __init__(
        self, folder: Path, *, cluster: str = "test-bed", now: datetime | None = None
    ) -> None:
        """Make the authority; `folder` gets a folder for each node.

        Args:
            folder: where everything goes; made if it is missing.
            cluster: whose authority it is.
            now: when it is made, in place of the time.
        """
        self.folder = folder
        self.authority = Authority.make(cluster, now=now)
        self.retired: list[Authority] = []  # trusted still, signing no more
        self.revoked: dict[int, datetime] | None = None  # None: nodes have no list at all

    @property
    def bundle_pem(self) -> bytes:
        """What nodes trust."""
        trusted = [self.authority, *self.retired]
        return b"".join(authority.certificate.pem for authority in trusted)

    @property
    def lists_pem(self) -> bytes | None:
        """What is revoked, or None."""
        if self.revoked is None:
            return None
        trusted = [self.authority, *self.retired]
        return b"".join(authority.revocation_list(self.revoked).pem for authority in trusted)

    def rotate(self) -> None:
        """Have another authority sign from now on; the one before stays trusted."""
        self.retired.append(self.authority)
        self.authority = Authority.make(self.authority.cluster)

    def revoke(self, *certificates: Certificate) -> None:
        """Revoke these; with none, nodes get an empty list."""
        self.revoked = self.revoked or {}
        for certificate in certificates:
            self.revoked[certificate.serial] = datetime.now(UTC)

    def node(
        self,
        name: str,
        *addresses: str,
        roles: Iterable[Role] = (),
        days: float = NODE_DAYS,
        now: datetime | None = None,
    ) -> CredentialFiles:
        """Issue a node's certificate; return the files that its agent reads.

        Args:
            name: the node's, and its folder's.
            addresses: at which other members reach it.
            roles: what it may do beyond exchanging pieces.
            days: for which the certificate holds.
            now: when it is issued, in place of the time.
        """
        key = make_key()
        certificate = self.authority.issue(
            key.public_key(), node=name, addresses=addresses, roles=roles, days=days, now=now
        )
        files = self.files(name)
        files.certificate.parent.mkdir(parents=True, exist_ok=True)
        _replace(files.key, key_pem(key))
        _replace(files.certificate, certificate.pem)
        self.tell(name)
        return self.files(name)

    def tell(self, name: str) -> None:
        """Give the node `name` what is trusted and revoked now."""
        files = self.files(name)
        if files.revoked is not None and (lists := self.lists_pem) is not None:
            _replace(files.revoked, lists)
        _replace(files.ca, self.bundle_pem)

    def files(self, name: str) -> CredentialFiles:
        """Return the files of the node `name`."""
        folder = self.folder / name
        return CredentialFiles(
            certificate=folder / "tls.crt",
            key=folder / "tls.key",
            ca=folder / "ca.crt",
            revoked=None if self.revoked is None else folder / "revoked.crl",
        )

    def credentials(self, name: str, *addresses: str, now: datetime | None = None) -> Credentials:
        """Issue a node's certificate; return what its agent makes of it."""
        return Credentials.read(self.node(name, *addresses, now=now))

    def settings(self, name: str) -> dict[str, dict[str, str]]:
        """Return the section `peer` of the node `name`, as in a settings file."""
        files = self.files(name)
        tls = {
            "certificate": str(files.certificate),
            "key": str(files.key),
            "ca": str(files.ca),
        }
        return {"tls": tls if files.revoked is None else {**tls, "revoked": str(files.revoked)}}


def _replace(path: Path, content: bytes) -> None:
    new = path.with_suffix(".new")
    new.touch(mode=0o600)
    new.write_bytes(content)
    new.rename(path)
