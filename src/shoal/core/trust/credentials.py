"""Credentials as Shoal remembers them: a fingerprint under a key that never leaves the node.

A plain hash of a password or token could be found by trying; an HMAC under a random key cannot.
Anonymous is a credential like any other.
"""

import hmac

KEY_BYTES = 32
# Half of SHA-256: 128 bits cannot be collided with by chance, and thousands are kept in memory.
_FINGERPRINT_BYTES = 16


class Fingerprint(bytes):
    """Sixteen bytes that stand for a credential; worthless without the node's key."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"Fingerprint({self[:4].hex()}…)"


def fingerprint(authorization: str | None, *, key: bytes) -> Fingerprint:
    """Return what to remember in place of the Authorization header `authorization`.

    Args:
        authorization: the header's value, or None for a client that sent none.
        key: the node's secret, KEY_BYTES long.

    Raises:
        ValueError: the key has another length.
    """
    if len(key) != KEY_BYTES:
        raise ValueError(f"the key of credential fingerprints must have {KEY_BYTES} bytes")
    if authorization is None:
        message = b"anonymous"
    else:
        # Source: RFC 9110 section 11.1: the scheme's name is case-insensitive, what follows is not.
        scheme, _, rest = authorization.partition(" ")
        message = f"authorization {scheme.lower()} {rest}".encode("utf-8", "surrogateescape")
    return Fingerprint(hmac.digest(key, message, "sha256")[:_FINGERPRINT_BYTES])
