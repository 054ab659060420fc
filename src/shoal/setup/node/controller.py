"""What a node asks of the controller: docs/kubernetes.md, "What nodes ask of the controller"."""

import contextlib
import http.client
import json
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shoal import __version__
from shoal.core.errors import ShoalError
from shoal.setup.names import CONTROLLER, CONTROLLER_PORT

TOKEN_PATH = Path("/var/run/secrets/shoal/token")
TIMEOUT_S = 10.0
_MAX_ANSWER_BYTES = 64 * 1024
_MAX_TOKEN_BYTES = 16 * 1024
_MAX_RETRY_AFTER_S = 300.0


class ControllerError(ShoalError):
    """The controller did not give what was asked; `retry_after_s` is when it wants to be asked."""

    exit_code = 69  # EX_UNAVAILABLE of sysexits.h
    retryable = True

    def __init__(self, message: str, *, retry_after_s: float = 0.0) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


@dataclass(frozen=True, slots=True)
class Condition:
    """This node's state, as Kubernetes writes one into a Node's status."""

    status: str
    """`True`, `False` or `Unknown`."""
    reason: str
    """One word in CamelCase, for programs."""
    message: str
    """For people: what was found, and what to do."""


@dataclass(frozen=True, slots=True)
class Signed:
    """A certificate, and the authorities that peers' are checked against; both PEM."""

    certificate: str
    authorities: str


class Controller:
    """The controller of this node's release, asked over TLS as this node."""

    def __init__(
        self,
        *,
        namespace: str,
        authority: Path,
        host: str | None = None,
        port: int = CONTROLLER_PORT,
        token: Path = TOKEN_PATH,
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        """Know where it is.

        Args:
            namespace: of the release.
            authority: certificates of who may have signed its own.
            host: where it is, whatever its name; None: where its Service is.
            port: where it listens.
            token: file with the token that says which node this is.
            timeout_s: bound on each wait, in seconds.
        """
        self._name = f"{CONTROLLER}.{namespace}.svc"
        self._host = host or self._name
        self._port = port
        self._authority = authority
        self._token = token
        self._timeout_s = timeout_s

    def sign(self, csr: str) -> Signed:
        """Have a certificate made for the key of a signing request, PEM.

        Raises:
            ControllerError: there is none now.
        """
        answer = self._ask("/v1/certificates", {"csr": csr})
        certificate, authorities = answer.get("certificate"), answer.get("ca")
        if not isinstance(certificate, str) or not isinstance(authorities, str):
            raise ControllerError("the controller's answer holds no certificate")
        return Signed(certificate, authorities)

    def report(self, condition: Condition) -> str:
        """Tell this node's state; return the runtime's name and version as its Node has it.

        Raises:
            ControllerError: it was not told.
        """
        answer = self._ask(
            "/v1/reports",
            {
                "status": condition.status,
                "reason": condition.reason,
                "message": condition.message,
            },
        )
        version = answer.get("containerRuntimeVersion")
        return version if isinstance(version, str) else ""

    def _ask(self, path: str, body: dict[str, str]) -> dict[str, Any]:
        token = self._read_token()
        try:
            # Made anew each time: the kubelet swaps the file when the authority changes.
            tls = ssl.create_default_context(cafile=str(self._authority))
        except (OSError, ssl.SSLError) as exc:
            raise ControllerError(f"cannot read the authority {self._authority}: {exc}") from exc
        connection = _Connection(self._host, self._port, self._name, tls, self._timeout_s)
        with contextlib.closing(connection):
            try:
                connection.request(
                    "POST",
                    path,
                    body=json.dumps(body),
                    headers={
                        "Authorization": f"Bearer {token}",
                        "Content-Type": "application/json",
                        "User-Agent": f"shoal/{__version__}",
                    },
                )
                response = connection.getresponse()
                answer = response.read(_MAX_ANSWER_BYTES + 1)
            except (OSError, http.client.HTTPException) as exc:
                raise ControllerError(
                    f"the controller at {self._host}:{self._port} cannot be reached: "
                    f"{str(exc) or type(exc).__name__}"
                ) from exc
        return _object(answer, path, response)

    def _read_token(self) -> str:
        try:
            with self._token.open("rb") as file:
                token = file.read(_MAX_TOKEN_BYTES).decode("ascii").strip()
        except (OSError, UnicodeDecodeError) as exc:
            raise ControllerError(f"cannot read this pod's token {self._token}: {exc}") from exc
        if not token or not token.isprintable():
            raise ControllerError(f"{self._token} holds no token")
        return token


class _Connection(http.client.HTTPSConnection):
    """A connection whose server is checked by another name than the one that is dialled."""

    def __init__(
        self, host: str, port: int, name: str, tls: ssl.SSLContext, timeout_s: float
    ) -> None:
        super().__init__(host, port, timeout=timeout_s, context=tls)
        self._name = name
        self._tls = tls

    def connect(self) -> None:
        """Connect, and check the certificate for the name."""
        http.client.HTTPConnection.connect(self)
        self.sock = self._tls.wrap_socket(self.sock, server_hostname=self._name)


def _object(answer: bytes, path: str, response: http.client.HTTPResponse) -> dict[str, Any]:
    try:
        value = json.loads(answer) if len(answer) <= _MAX_ANSWER_BYTES else None
    except (ValueError, RecursionError):
        value = None
    if response.status != 200:
        said = value.get("message") if isinstance(value, dict) else None
        retry = response.getheader("Retry-After") or ""
        raise ControllerError(
            f"the controller answered {response.status} for {path}: {said or response.reason}"[
                :512
            ],
            retry_after_s=min(float(retry), _MAX_RETRY_AFTER_S) if retry.isdecimal() else 0.0,
        )
    if not isinstance(value, dict):
        raise ControllerError(f"the controller's answer for {path} is no JSON object")
    return value
