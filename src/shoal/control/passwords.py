"""Passwords: hashed by scrypt, with the cost in the hash so that it can be raised later."""

import base64
import hashlib
import hmac
import secrets

from shoal.core.errors import BadInput

# 32 MiB and a quarter of a second a try on one core here. Source: RFC 7914 section 2, and OWASP's
# password storage advice, whose N=2^15 r=8 p=3 is this memory at three times the work.
LOG2_N, R, P = 15, 8, 3
MIN_CHARS = 12
MAX_CHARS = 256
_SALT_BYTES = 16


class WeakPassword(BadInput):
    """A password that nobody should choose; the message says why."""


def check_new(password: str, *, name: str) -> None:
    """Refuse a password that is too easy to guess.

    Raises:
        WeakPassword: It is too short, too long, one character over and over, or holds the name.
    """
    if len(password) < MIN_CHARS:
        raise WeakPassword(f"a password has at least {MIN_CHARS} characters")
    if len(password) > MAX_CHARS:
        raise WeakPassword(f"a password has at most {MAX_CHARS} characters")
    if len(set(password)) < 5:
        raise WeakPassword("this password repeats itself: use more different characters")
    if name and name.lower() in password.lower():
        raise WeakPassword("this password holds your name")


def hash_password(password: str) -> str:
    """Return what is kept of a password. Takes some 250 ms: not for an event loop."""
    salt = secrets.token_bytes(_SALT_BYTES)
    digest = _scrypt(password, salt, LOG2_N, R, P)
    parts = (base64.b64encode(raw).decode() for raw in (salt, digest))
    return "$".join(("scrypt", str(LOG2_N), str(R), str(P), *parts))


def is_password(password: str, kept: str) -> bool:
    """Return whether `password` is the one that was hashed to `kept`. Takes some 250 ms."""
    _, log2_n, r, p, salt, digest = kept.split("$")
    made = _scrypt(password[:MAX_CHARS], base64.b64decode(salt), int(log2_n), int(r), int(p))
    return hmac.compare_digest(made, base64.b64decode(digest))


def _scrypt(password: str, salt: bytes, log2_n: int, r: int, p: int) -> bytes:
    n = 1 << log2_n
    memory = 128 * n * r + (1 << 20)  # what the algorithm takes, and a little for OpenSSL
    return hashlib.scrypt(password.encode(), salt=salt, n=n, r=r, p=p, maxmem=memory, dklen=32)
