"""An authority kept in a folder: what `shoal certs` works on.

    ca.crt          authorities that are trusted, who signs first; every node has a copy
    revoked.crl     what each has revoked; every node has a copy
    keys/ID.key     the authorities' private keys, readable by their owner alone
    issued/         every certificate that was signed

A command that is cut short anywhere leaves a folder that works: keys come before the bundle that
needs them and go after it, and `ca.crt` alone says who signs.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from shoal.adapters.certificates.authority import AUTHORITY_DAYS, NODE_DAYS, Authority
from shoal.adapters.certificates.certificate import Certificate, read_certificates
from shoal.adapters.certificates.errors import CertificateError
from shoal.adapters.certificates.files import SECRET, make_folder, only_one, read, write
from shoal.adapters.certificates.keys import key_pem, make_key
from shoal.adapters.certificates.trust import Trust
from shoal.core.trust.identity import Refused, Role

BUNDLE, LISTS, CERTIFICATE, KEY = "ca.crt", "revoked.crl", "tls.crt", "tls.key"
_KEYS, _ISSUED = "keys", "issued"


@dataclass(frozen=True, slots=True)
class Issued:
    """A certificate that was signed, and the key that goes with it where it was made here."""

    certificate: Certificate
    key_pem: bytes | None = field(repr=False)


class AuthorityFolder:
    """The authority of a cluster, and while it is replaced two; as its files are now."""

    def __init__(self, path: Path) -> None:
        """Read the folder.

        Raises:
            CertificateError: there is none, or its files cannot be used.
        """
        self.path = path
        if not (path / BUNDLE).exists():
            raise CertificateError(
                f"{path}: holds no authority: `shoal certs init --cluster NAME` makes one, "
                f"--ca names its folder"
            )
        self.trust = Trust.read(
            read(path / BUNDLE),
            read(path / LISTS),
            name=str(path / BUNDLE),
            revoked_name=str(path / LISTS),
        )

    @classmethod
    def make(
        cls, path: Path, cluster: str, *, days: float = AUTHORITY_DAYS, now: datetime | None = None
    ) -> "AuthorityFolder":
        """Make a new authority in a folder that has none.

        Raises:
            BadInput: the cluster's name cannot be one.
            CertificateError: there is one already, or the file system refuses.
        """
        authority = Authority.make(cluster, days=days, now=now)
        for folder in (path, path / _KEYS, path / _ISSUED):
            make_folder(folder)
        with only_one(path):
            if (path / BUNDLE).exists():
                raise CertificateError(
                    f"{path / BUNDLE}: there is an authority already: `shoal certs rotate` "
                    f"replaces it"
                )
            _write_key(path, authority)
            write(path / LISTS, authority.revocation_list({}, now=now).pem, replace=True)
            write(path / BUNDLE, authority.certificate.pem)
        return cls(path)

    @property
    def cluster(self) -> str:
        """Whose authority it is."""
        return self.signer.cluster

    @property
    def signer(self) -> Authority:
        """The authority that signs now.

        Raises:
            CertificateError: its key cannot be used.
        """
        return self._authority(self.trust.authorities[0])

    @property
    def is_rotating(self) -> bool:
        """Whether an authority is trusted still that another has replaced."""
        return len(self.trust.authorities) > 1

    def issue(
        self,
        *,
        node: str | None = None,
        addresses: Iterable[str] = (),
        roles: Iterable[Role] = (),
        name: str = "",
        days: float = NODE_DAYS,
        request: bytes | None = None,
        now: datetime | None = None,
    ) -> Issued:
        """Sign a certificate: for a key made now, or for the one that a request proves.

        Raises:
            BadInput: a name or address that cannot be one.
            CertificateError: the request is refused, or a file cannot be used.
        """
        signer = self.signer
        if request is not None:
            if node is None:
                raise CertificateError("a request is signed for a node: name it")
            made = signer.sign_request(request, node=node, addresses=addresses, days=days, now=now)
            key = None
        else:
            private = make_key()
            made = signer.issue(
                private.public_key(),
                node=node,
                addresses=addresses,
                roles=roles,
                name=name,
                days=days,
                now=now,
            )
            key = key_pem(private)
        write(self.path / _ISSUED / f"{node or name}-{made.serial:x}.crt", made.pem)
        return Issued(made, key)

    def issued(self) -> tuple[Certificate, ...]:
        """Return every certificate that was signed, the oldest of each name first."""
        # By the file's time too, since a certificate's own has seconds only.
        found = [
            (certificate.name, certificate.not_before, path.stat().st_mtime_ns, certificate)
            for path in (self.path / _ISSUED).glob("*.crt")
            for certificate in read_certificates(read(path), name=str(path))
        ]
        return tuple(found_one[-1] for found_one in sorted(found, key=lambda one: one[:-1]))

    def current(self) -> Mapping[str, Certificate]:
        """Return the latest certificate of each name."""
        return {certificate.name: certificate for certificate in self.issued()}

    def revoke(self, certificates: Iterable[Certificate], *, now: datetime | None = None) -> None:
        """Revoke these, from now on.

        Raises:
            CertificateError: one was signed by nobody here, or a file cannot be used.
        """
        now = now or datetime.now(UTC)
        revoked = {list_.issuer: dict(list_.revoked) for list_ in self.trust.lists}
        for certificate in certificates:
            issuer = self.trust.issuer(certificate)
            revoked[issuer].setdefault(certificate.serial, now)
        with only_one(self.path):
            self._write_lists(self.trust.authorities, revoked, now=now)

    def rotate(self, *, days: float = AUTHORITY_DAYS, now: datetime | None = None) -> None:
        """Have a new authority sign from now on; the one before stays trusted.

        Raises:
            CertificateError: that is under way already, or a file cannot be used.
        """
        if self.is_rotating:
            raise CertificateError(
                f"{self.path / BUNDLE}: has two authorities already: `shoal certs rotate --finish` "
                f"ends the replacement that is under way"
            )
        now = now or datetime.now(UTC)
        new = Authority.make(self.cluster, days=days, now=now)
        revoked = {list_.issuer: dict(list_.revoked) for list_ in self.trust.lists}
        trusted = (new.certificate, *self.trust.authorities)
        with only_one(self.path):
            _write_key(self.path, new)
            self._write_lists(trusted, revoked, now=now)
            self._write_bundle(trusted)

    def left_behind(self, *, now: datetime) -> tuple[str, ...]:
        """Return the names that nobody would believe if the old authority were dropped now."""
        after = Trust(self.trust.authorities[:1])
        hold = [c for c in self.issued() if _holds(self.trust, c, now=now)]
        kept = {c.name for c in hold if _holds(after, c, now=now)}
        return tuple(sorted({c.name for c in hold} - kept))

    def finish(self) -> tuple[Certificate, ...]:
        """Trust the signing authority alone, and forget the others' keys; return the others.

        Raises:
            CertificateError: no replacement is under way, or a file cannot be used.
        """
        if not self.is_rotating:
            raise CertificateError(
                f"{self.path / BUNDLE}: has one authority: there is no replacement to finish"
            )
        (kept, *dropped) = self.trust.authorities
        revoked = {list_.issuer: dict(list_.revoked) for list_ in self.trust.lists}
        with only_one(self.path):
            self._write_bundle((kept,))
            self._write_lists((kept,), revoked, now=datetime.now(UTC))
            for authority in dropped:
                _key_path(self.path, authority).unlink(missing_ok=True)
        return tuple(dropped)

    def require_free(self, folder: Path, *, with_key: bool, replace: bool) -> None:
        """Refuse a folder that has a certificate or key, before one is made that nobody gets.

        Args:
            folder: where `hand_out` will write.
            with_key: whether it will write a key too.
            replace: whether it may write over what is there.

        Raises:
            CertificateError: it has, and `replace` is off.
        """
        for path in (folder / KEY, folder / CERTIFICATE) if with_key else (folder / CERTIFICATE,):
            if path.exists() and not replace:
                raise CertificateError(
                    f"{path}: is there already: --replace writes over it, --out names another "
                    f"folder"
                )

    def hand_out(self, folder: Path, issued: Issued, *, replace: bool = False) -> None:
        """Write what a node's `peer.tls` names into a folder.

        Raises:
            CertificateError: a file is there and `replace` is off, or the file system refuses.
        """
        make_folder(folder)
        with only_one(folder):
            if issued.key_pem is not None:
                write(folder / KEY, issued.key_pem, mode=SECRET, replace=replace)
            write(folder / CERTIFICATE, issued.certificate.pem, replace=replace)
            for name in (BUNDLE, LISTS):
                write(folder / name, read(self.path / name), replace=True)

    def _authority(self, certificate: Certificate) -> Authority:
        path = _key_path(self.path, certificate)
        return Authority.read(
            certificate.pem,
            read(path, private=True),
            name=str(self.path / BUNDLE),
            key_name=str(path),
        )

    def _write_bundle(self, trusted: tuple[Certificate, ...]) -> None:
        pem = b"".join(authority.pem for authority in trusted)
        write(self.path / BUNDLE, pem, replace=True)
        self._read_again()

    def _write_lists(
        self,
        trusted: tuple[Certificate, ...],
        revoked: Mapping[Certificate, Mapping[int, datetime]],
        *,
        now: datetime,
    ) -> None:
        pem = b"".join(
            self._authority(authority).revocation_list(revoked.get(authority, {}), now=now).pem
            for authority in trusted
        )
        write(self.path / LISTS, pem, replace=True)
        self._read_again()

    def _read_again(self) -> None:
        self.trust = Trust.read(read(self.path / BUNDLE), read(self.path / LISTS))


def _key_path(folder: Path, authority: Certificate) -> Path:
    return folder / _KEYS / f"{authority.fingerprint[:16]}.key"


def _write_key(folder: Path, authority: Authority) -> None:
    write(_key_path(folder, authority.certificate), authority.key_pem, mode=SECRET)


def _holds(trust: Trust, certificate: Certificate, *, now: datetime) -> bool:
    try:
        trust.verified(certificate, now=now)
    except Refused:
        return False
    return True
