"""Takes credentials out of text on its way to a log: the last defence, not the first.

Code that logs must not hand over credentials at all; this catches what an exception's text or a
library brings along.
"""

import re

HIDDEN = "***"

# Field names whose value is a credential whatever it looks like.
_SECRET_FIELDS = frozenset(
    {"authorization", "proxy-authorization", "cookie", "set-cookie", "password", "secret", "token"}
)

# Source: RFC 9110 section 11.4: a scheme, then token68 or parameters. Basic and Bearer are what
# registries use. The value is bounded by what a header may hold.
_SCHEME = re.compile(r"\b(bearer|basic)\s+[A-Za-z0-9._~+/=-]{4,}", re.IGNORECASE)
_HEADER = re.compile(
    r"\b((?:proxy-)?authorization|(?:set-)?cookie)(['\"]?\s*[:=]\s*)([^\r\n]{1,8192})",
    re.IGNORECASE,
)
# `token=...` in queries and forms, `"access_token": "..."` in the answers of token servers.
_PAIR = re.compile(
    r"\b((?:access_|refresh_|id_|identity_|security)?token|password|passwd|client_secret|secret|"
    r"signature|accesskey(?:id|secret)?|x-amz-[a-z-]+|x-oss-[a-z-]+)"
    r"(['\"]?\s*[:=]\s*['\"]?)[^\s&'\",;)}]+",
    re.IGNORECASE,
)
# The query of an absolute URL is a signature wherever a registry redirects to object storage.
_QUERY = re.compile(r"(\bhttps?://[^\s?'\"<>]{1,2048})\?[^\s'\"<>]+", re.IGNORECASE)
_USER = re.compile(r"(\bhttps?://)[^\s/@'\"]{1,512}@", re.IGNORECASE)


def without_secrets(text: str) -> str:
    """Return `text` with what looks like a credential replaced by `***`."""
    text = _USER.sub(rf"\1{HIDDEN}@", text)
    text = _QUERY.sub(rf"\1?{HIDDEN}", text)
    text = _HEADER.sub(rf"\1\2{HIDDEN}", text)
    text = _SCHEME.sub(rf"\1 {HIDDEN}", text)
    return _PAIR.sub(rf"\1\2{HIDDEN}", text)


def is_secret_field(name: str) -> bool:
    """Return whether a field of this name holds a credential."""
    return name.lower().replace("_", "-") in _SECRET_FIELDS
