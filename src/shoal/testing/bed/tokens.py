"""A small token server for `docker-registry`: `python -m shoal.testing.bed.tokens SETTINGS.json`.

It speaks both forms of the token protocol that clients use: GET with Basic credentials, and
containerd's POST of an OAuth2 form. Tokens are JSON web tokens that the registry checks against
the certificate written by `write_keys`.

Source: distribution, docs/spec/auth/token.md, jwt.md and oauth.md.
"""

import base64
import hmac
import json
import secrets
import socket
import sys
import threading
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.x509.oid import NameOID

ISSUER = "shoal-bed"
SERVICE = "shoal-bed-registry"
MAX_FORM_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class User:
    """One who may get tokens; `repositories` are prefixes, the empty one allows all."""

    password: str
    repositories: tuple[str, ...] = ("",)


@dataclass(frozen=True, slots=True)
class TokenSettings:
    """What the server needs; written to its settings file as JSON."""

    port: int
    key: str  # path of the private key
    certificate: str  # path of its certificate, which is also the registry's `rootcertbundle`
    log: str  # path; one JSON object a request
    users: dict[str, User]
    anonymous_repositories: tuple[str, ...] = ("public/",)
    lifetime_s: int = 300
    service: str = field(default=SERVICE)

    def write(self, path: Path) -> None:
        """Write the settings for `main` to read."""
        path.write_text(json.dumps(asdict(self)))

    @classmethod
    def read(cls, path: Path) -> "TokenSettings":
        """Read what `write` wrote."""
        data: dict[str, Any] = json.loads(path.read_text())
        data["users"] = {
            name: User(user["password"], tuple(user["repositories"]))
            for name, user in data["users"].items()
        }
        data["anonymous_repositories"] = tuple(data["anonymous_repositories"])
        return cls(**data)


def write_keys(*, key: Path, certificate: Path) -> None:
    """Make a signing key and its self-signed certificate."""
    private = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, ISSUER)])
    now = datetime.now(UTC)
    built = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(private.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=30))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(private, hashes.SHA256())
    )
    key.write_bytes(
        private.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    certificate.write_bytes(built.public_bytes(serialization.Encoding.PEM))


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


class Signer:
    """Makes tokens."""

    def __init__(self, settings: TokenSettings) -> None:
        loaded = serialization.load_pem_private_key(Path(settings.key).read_bytes(), None)
        if not isinstance(loaded, ec.EllipticCurvePrivateKey):
            raise TypeError(f"{settings.key} is not an elliptic curve key")
        self._key = loaded
        pem = Path(settings.certificate).read_bytes()
        der = x509.load_pem_x509_certificate(pem).public_bytes(serialization.Encoding.DER)
        header = {"typ": "JWT", "alg": "ES256", "x5c": [base64.b64encode(der).decode()]}
        self._header = _base64url(json.dumps(header).encode())
        self._settings = settings

    def token(self, *, subject: str, access: list[dict[str, Any]]) -> str:
        """Return a token that grants `access` to `subject` for the settings' lifetime."""
        now = int(datetime.now(UTC).timestamp())
        claims = {
            "iss": ISSUER,
            "sub": subject,
            "aud": self._settings.service,
            "exp": now + self._settings.lifetime_s,
            "nbf": now - 10,
            "iat": now,
            "jti": secrets.token_hex(8),
            "access": access,
        }
        body = f"{self._header}.{_base64url(json.dumps(claims).encode())}"
        # RFC 7518 §3.4: the two 32-byte numbers one after the other, not DER.
        r, s = decode_dss_signature(self._key.sign(body.encode(), ec.ECDSA(hashes.SHA256())))
        return f"{body}.{_base64url(r.to_bytes(32, 'big') + s.to_bytes(32, 'big'))}"


class _Server(ThreadingHTTPServer):
    address_family = socket.AF_INET6
    daemon_threads = True

    def __init__(self, settings: TokenSettings) -> None:
        self.settings = settings
        self.signer = Signer(settings)
        self.log_lock = threading.Lock()
        super().__init__(("::", settings.port), _Handler)

    def server_bind(self) -> None:
        self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        super().server_bind()


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"
    timeout = 30

    def do_GET(self) -> None:
        """Token by query and Basic credentials, or anonymous without."""
        query = parse_qs(urlsplit(self.path).query)
        name, password = self._basic()
        self._answer(name, password, query.get("scope", []), form=False)

    def do_POST(self) -> None:
        """Token by an OAuth2 form: grant_type=password."""
        length = int(self.headers.get("Content-Length") or 0)
        if length > MAX_FORM_BYTES:
            self._send(413, {"details": "form too large"})
            return
        fields = parse_qs(self.rfile.read(length).decode())
        name, password = (fields.get(key, [""])[0] for key in ("username", "password"))
        self._answer(name, password, fields.get("scope", []), form=True)

    def _basic(self) -> tuple[str, str]:
        scheme, _, value = self.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "basic":
            return "", ""
        name, _, password = base64.b64decode(value).decode().partition(":")
        return name, password

    def _answer(self, name: str, password: str, scopes: list[str], *, form: bool) -> None:
        settings = self.server.settings
        allowed = settings.anonymous_repositories
        if name:
            user = settings.users.get(name)
            if user is None or not hmac.compare_digest(user.password, password):
                self._log(name, scopes, 401)
                self._send(401, {"details": "unknown user or wrong password"})
                return
            allowed = (*user.repositories, *allowed)
        words = [word for scope in scopes for word in scope.split()]
        access = []
        for kind, _, rest in (word.partition(":") for word in words):
            repository, _, actions = rest.rpartition(":")
            granted = actions.split(",") if repository.startswith(allowed) else []
            access.append({"type": kind, "name": repository, "actions": granted})
        self._log(name, scopes, 200)
        token = self.server.signer.token(subject=name, access=access)
        issued = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        body: dict[str, Any] = {"expires_in": settings.lifetime_s, "issued_at": issued}
        names = ("access_token",) if form else ("token", "access_token")
        self._send(200, body | dict.fromkeys(names, token))

    def _send(self, status: int, body: dict[str, Any]) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _log(self, name: str, scopes: list[str], status: int) -> None:
        entry = {
            "client": self.client_address[0].removeprefix("::ffff:"),
            "method": self.command,
            "user": name,
            "scopes": scopes,
            "status": status,
        }
        with self.server.log_lock, Path(self.server.settings.log).open("a") as log:
            log.write(json.dumps(entry) + "\n")

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base's name
        """Say nothing on stderr: `_log` keeps what matters."""


def main() -> int:
    """Serve until killed."""
    with _Server(TokenSettings.read(Path(sys.argv[1]))) as server:
        server.serve_forever()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
