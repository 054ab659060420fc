"""What the front answers when it does not serve content: OCI error bodies and refusals."""

import json
from collections.abc import Mapping
from enum import StrEnum

from aiohttp import web

from shoal.core.errors import ShoalError

# Source: OCI distribution-spec v1.1, "API"; containerd, Docker and skopeo all read it.
# The library's own Server header would tell its version.
API_VERSION = {"Docker-Distribution-API-Version": "registry/2.0", "Server": "shoal"}
OCTET_STREAM = "application/octet-stream"

# What the registry's own answers may carry on to the client; everything else stays behind.
PASSED_HEADERS = (
    "Content-Type",
    "Docker-Content-Digest",
    "Link",
    "OCI-Filters-Applied",
    "Retry-After",
    "WWW-Authenticate",
)


class Code(StrEnum):
    """Error codes of the distribution specification, and `UNAVAILABLE`, which registries add."""

    BLOB_UNKNOWN = "BLOB_UNKNOWN"
    DENIED = "DENIED"
    DIGEST_INVALID = "DIGEST_INVALID"
    MANIFEST_UNKNOWN = "MANIFEST_UNKNOWN"
    NAME_INVALID = "NAME_INVALID"
    NAME_UNKNOWN = "NAME_UNKNOWN"
    RANGE_INVALID = "RANGE_INVALID"
    UNAVAILABLE = "UNAVAILABLE"
    UNSUPPORTED = "UNSUPPORTED"


class Cause(StrEnum):
    """Why a request got no content: the `cause` of a log line and the label of a metric."""

    BAD_REQUEST = "bad-request"
    BROWSER = "browser"
    BUSY = "busy"
    CLIENT_LEFT = "client-left"
    CLIENT_STALLED = "client-stalled"
    CONNECTION_LIMIT = "connection-limit"
    CONTENT_WRONG = "content-wrong"
    FAULT = "fault"
    HALF_OPEN = "half-open"
    HOST_REFUSED = "host-refused"
    METHOD = "method"
    NOT_FOUND = "not-found"
    NOT_LOOPBACK = "not-loopback"
    RANGE = "range"
    REGISTRY_UNAVAILABLE = "registry-unavailable"
    TLS = "tls"
    TOKEN = "token"  # noqa: S105 - a word
    TRANSFER_FAILED = "transfer-failed"
    UNKNOWN_REGISTRY = "unknown-registry"


class Refusal(ShoalError):
    """Ends a request before any content was sent.

    Everything that is no fault of the client's is a 404: containerd then asks the real registry at
    once, while a 429 or 5xx would make it wait or ask again here. (It repeats a 429 five times
    against the same host before it goes on; the registry's own 429 then reaches it anyway.)
    """

    def __init__(
        self,
        message: str,
        *,
        cause: Cause,
        status: int = 404,
        code: Code = Code.UNAVAILABLE,
        headers: Mapping[str, str] | None = None,
        closes: bool = False,
        is_outage: bool = False,
    ) -> None:
        """Refuse.

        Args:
            message: for the client and the log: what is wrong, never what a header held.
            cause: the kind of reason, for log and metrics.
            status: the HTTP status.
            code: the code in the body.
            headers: further headers of the answer.
            closes: the connection ends with this answer.
            is_outage: the registry is away, so another credential may do.
        """
        super().__init__(message)
        self.cause = cause
        self.status = status
        self.code = code
        self.headers = dict(headers or {})
        self.closes = closes
        self.is_outage = is_outage

    def response(self) -> web.Response:
        """Return the answer that says so."""
        response = error_response(self.status, self.code, str(self), headers=self.headers)
        if self.closes:
            response.force_close()
        return response


def error_response(
    status: int, code: Code, message: str, *, headers: Mapping[str, str] | None = None
) -> web.Response:
    """Return an error in the form that the distribution specification gives."""
    body = json.dumps({"errors": [{"code": code.value, "message": message[:512]}]}).encode()
    return web.Response(
        status=status,
        body=body,
        headers={**API_VERSION, "Content-Type": "application/json", **(headers or {})},
    )
