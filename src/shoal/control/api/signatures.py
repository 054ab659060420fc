"""The two signatures of the cloud's API, computed as its documentation says.

ACS3-HMAC-SHA256 is what today's SDKs send: headers and body are signed. HMAC-SHA1 version 1.0 is
the older one: parameters alone are signed, and the signature is one of them.
"""

import base64
import hashlib
import hmac
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import quote

ALGORITHM = "ACS3-HMAC-SHA256"
# What has to be signed: without one of these a signature could be used for another call.
NEEDED_HEADERS = frozenset(
    {
        "host",
        "x-acs-action",
        "x-acs-content-sha256",
        "x-acs-date",
        "x-acs-signature-nonce",
        "x-acs-version",
    }
)
_AUTHORIZATION = re.compile(
    ALGORITHM + r" Credential=(?P<key>[^,\s]{1,128})"
    r", ?SignedHeaders=(?P<headers>[a-z0-9;-]{1,2048}), ?"
    r"Signature=(?P<signature>[0-9a-f]{64})",
    re.ASCII,
)


@dataclass(frozen=True, slots=True)
class Call:
    """A request as it came: header names in lower case, parameters decoded."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes
    form: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Authorization:
    """The parts of an `Authorization` header."""

    key_id: str
    signed_headers: tuple[str, ...]
    signature: str


def parse_authorization(text: str) -> Authorization | None:
    """Return the parts of a header of the newer kind, or None if it is not one."""
    found = _AUTHORIZATION.fullmatch(text)
    if found is None:
        return None
    return Authorization(found["key"], tuple(found["headers"].split(";")), found["signature"])


def acs3_signature(call: Call, signed_headers: Sequence[str], secret: str) -> str:
    """Return the signature that `call` has to have, in hexadecimal."""
    lines = [f"{name}:{call.headers.get(name, '').strip()}\n" for name in signed_headers]
    canonical = "\n".join(
        (
            call.method,
            call.path,
            canonical_query(call.query),
            "".join(lines),
            ";".join(signed_headers),
            hashlib.sha256(call.body).hexdigest(),
        )
    )
    text = f"{ALGORITHM}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
    return hmac.new(secret.encode(), text.encode(), hashlib.sha256).hexdigest()


def rpc_signature(method: str, parameters: Mapping[str, str], secret: str) -> str:
    """Return the older signature over all parameters but `Signature`, in Base64."""
    rest = {name: value for name, value in parameters.items() if name != "Signature"}
    text = f"{method}&%2F&{_encoded(canonical_query(rest))}"
    made = hmac.new(f"{secret}&".encode(), text.encode(), hashlib.sha1)
    return base64.b64encode(made.digest()).decode()


def canonical_query(parameters: Mapping[str, str]) -> str:
    """Return parameters by name, percent-encoded as RFC 3986 says."""
    return "&".join(
        f"{_encoded(name)}={_encoded(value)}" for name, value in sorted(parameters.items())
    )


def same(one: str, other: str) -> bool:
    """Return whether two signatures are the same, in a time that says nothing of where not."""
    return hmac.compare_digest(one.encode(), other.encode())


def _encoded(text: str) -> str:
    return quote(text, safe="-_.~")
