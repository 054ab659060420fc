"""Credentials as Shoal remembers them: a fingerprint under a key that never leaves the node.

A plain hash of a password or token could be found by trying; an HMAC under a random key cannot.
Anonymous is a credential like any other.
"""

import hmac

KEY_BYTES = 32
# Half of SHA-256: 128 bits cannot be collided with by chance, and thousands are kept in memory.
FINGERPRINT_BYTES = 16


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
    if authorization is None:
        return _keyed("anonymous", key)
    # Source: RFC 9110 section 11.1: the scheme's name is case-insensitive, what follows is not.
    scheme, _, rest = authorization.partition(" ")
    return _keyed(f"authorization {scheme.lower()} {rest}", key)


def account_fingerprint(kind: str, secret: str, *, key: bytes) -> Fingerprint:
    """Return what to remember in place of what a token server was shown.

    It equals no fingerprint of an Authorization header: to have a password and to be given a token
    for it are two things, and the registry is asked about each.

    Args:
        kind: a word for what it is: `basic`, `refresh`, `anonymous`.
        secret: what proves the account.
        key: the node's secret, KEY_BYTES long.

    Raises:
        ValueError: the key has another length.
    """
    return _keyed(f"account {kind} {secret}", key)


def _keyed(message: str, key: bytes) -> Fingerprint:
    if len(key) != KEY_BYTES:
        raise ValueError(f"the key of credential fingerprints must have {KEY_BYTES} bytes")
    digest = hmac.digest(key, message.encode("utf-8", "surrogateescape"), "sha256")
    return Fingerprint(digest[:FINGERPRINT_BYTES])
