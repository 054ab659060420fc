"""A node's key and certificate: the key is made here and never leaves, the controller signs."""

# The key stays the same when the certificate is renewed: one file is replaced, by rename, and there
# is no moment at which key and certificate do not belong together. Only where the certificate was
# revoked, since somebody else may have its key, both are made anew.

import contextlib
import logging
import os
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from shoal.adapters.certificates.errors import CertificateError
from shoal.adapters.certificates.keys import PrivateKey, hash_for, key_pem, make_key, read_key
from shoal.core.errors import ShoalError
from shoal.setup.node.backoff import Backoff
from shoal.setup.node.controller import Controller

_log = logging.getLogger("shoal.setup")

KEY, CERTIFICATE = "tls.key", "tls.crt"
_MAX_FILE_BYTES = 1024 * 1024
# Of a certificate's life, when it is renewed: with a third left a controller may be away for long,
# and the spread keeps nodes that were installed together from coming back together.
_RENEW_FROM, _RENEW_TO = 0.5, 0.67


@dataclass(slots=True)
class Identity:
    """The folder with this node's key and certificate."""

    folder: Path
    controller: Controller
    address: str
    """The node's, for which the certificate must be."""

    authority: Path
    """Certificates of the authorities that peers believe."""

    revoked: Path | None = None
    """The list of certificates that peers take no more; None, or no such file: all hold."""

    owner: tuple[int, int] | None = None
    """User and group that the files are for; None: this process's."""

    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    jitter: Callable[[], float] = random.random
    _share: float = field(init=False)

    def __post_init__(self) -> None:
        """Choose when in a certificate's life it is renewed here."""
        self._share = _RENEW_FROM + (_RENEW_TO - _RENEW_FROM) * self.jitter()

    @property
    def is_good(self) -> bool:
        """Whether there is a certificate that peers take now."""
        return self._faults() is None

    @property
    def is_due(self) -> bool:
        """Whether a new certificate is to be had."""
        certificate = self._certificate()
        if certificate is None or self._faults() is not None:
            return True
        begin, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
        return self.now() >= begin + (end - begin) * self._share

    def renew(self) -> None:
        """Have a certificate made for this node's key, or for a new one if there is none.

        Raises:
            ControllerError: there is none now; what is there stays.
            CertificateError: the controller's answer is no certificate for this key.
            ShoalError: a file cannot be written.
        """
        before = None if self._is_revoked() else self._key()
        key = before or make_key()
        request = (
            x509.CertificateSigningRequestBuilder()
            .subject_name(x509.Name([]))
            .sign(key, hash_for(key))
        )
        signed = self.controller.sign(request.public_bytes(Encoding.PEM).decode())
        try:
            certificate = x509.load_pem_x509_certificate(signed.certificate.encode())
        except ValueError:
            raise CertificateError("the controller sent what is no certificate") from None
        if _public(certificate) != _public(key):
            raise CertificateError("the controller sent a certificate for another key")
        if before is None:
            self._write(KEY, key_pem(key), mode=0o600)
        self._write(CERTIFICATE, signed.certificate.encode(), mode=0o644)
        left = certificate.not_valid_after_utc - self.now()
        _log.info("certificate_renewed", extra={"valid_for_s": round(left.total_seconds())})

    def _faults(self) -> str | None:
        certificate, key = self._certificate(), self._key()
        if certificate is None or key is None:
            return "there is none"
        if _public(certificate) != _public(key):
            return "it is for another key"
        if not certificate.not_valid_before_utc <= self.now() < certificate.not_valid_after_utc:
            return "it is not valid now"
        if not self._names_address(certificate):
            return f"it is not for {self.address}"
        if self._is_revoked():
            return "it was revoked"
        if not any(_issued_by(certificate, authority) for authority in self._authorities()):
            return "its authority is none of the cluster's"
        return None

    def _names_address(self, certificate: x509.Certificate) -> bool:
        with contextlib.suppress(x509.ExtensionNotFound, ValueError):
            names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
            return ip_address(self.address) in names.value.get_values_for_type(x509.IPAddress)
        return False

    def _authorities(self) -> list[x509.Certificate]:
        with contextlib.suppress(OSError, ValueError):
            return x509.load_pem_x509_certificates(_read(self.authority))
        return []

    def _certificate(self) -> x509.Certificate | None:
        with contextlib.suppress(OSError, ValueError):
            return x509.load_pem_x509_certificate(_read(self.folder / CERTIFICATE))
        return None

    def _is_revoked(self) -> bool:
        certificate = self._certificate()
        if self.revoked is None or certificate is None:
            return False
        with contextlib.suppress(OSError, ValueError):
            revoked = x509.load_pem_x509_crl(_read(self.revoked))
            serial = certificate.serial_number
            return revoked.get_revoked_certificate_by_serial_number(serial) is not None
        return False

    def _key(self) -> PrivateKey | None:
        path = self.folder / KEY
        with contextlib.suppress(OSError, CertificateError):
            return read_key(_read(path), name=str(path))
        return None

    def _write(self, name: str, data: bytes, *, mode: int) -> None:
        path = self.folder / name
        temporary = path.with_name(f".{name}.new")
        try:
            self.folder.mkdir(mode=0o700, exist_ok=True)
            self._own(self.folder)
            temporary.unlink(missing_ok=True)
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
            with open(os.open(temporary, flags, 0o600), "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            temporary.chmod(mode)
            self._own(temporary)
            temporary.replace(path)
        except OSError as exc:
            raise ShoalError(f"{path}: {exc.strerror or exc}") from exc

    def _own(self, path: Path) -> None:
        if self.owner is not None:
            os.chown(path, *self.owner)


def _read(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(_MAX_FILE_BYTES)


def _public(holder: PrivateKey | x509.Certificate) -> bytes:
    key = holder.public_key()
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _issued_by(certificate: x509.Certificate, authority: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(authority)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


class Renewing:
    """Renews at its time, for a loop that has other things to do."""

    def __init__(self, identity: Identity) -> None:
        """Know what to renew."""
        self._identity = identity
        self._backoff = Backoff(identity.jitter)
        self._not_before = identity.now()

    def look(self) -> None:
        """Renew if it is time; a failure is logged, and tried again later."""
        identity = self._identity
        if identity.now() < self._not_before or not identity.is_due:
            return
        try:
            identity.renew()
        except ShoalError as exc:
            pause_s = self._backoff.failed(getattr(exc, "retry_after_s", 0.0))
            self._not_before = identity.now() + timedelta(seconds=pause_s)
            extra = {"error": str(exc), "again_in_s": round(pause_s)}
            _log.warning("certificate_not_renewed", extra=extra)
            return
        self._backoff.succeeded()
