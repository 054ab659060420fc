"""New ids and secrets, in the cloud's forms."""

import secrets
import string

_LOWER = string.ascii_lowercase + string.digits
_MIXED = string.ascii_letters + string.digits


def _of(alphabet: str, length: int) -> str:
    return "".join(secrets.choice(alphabet) for _ in range(length))


def instance_id() -> str:
    """Return such as `cri-k3x9…`, 20 characters."""
    return f"cri-{_of(_LOWER, 16)}"


def access_key_id() -> str:
    """Return such as `LTAI5t…`, 24 characters."""
    return f"LTAI5t{_of(_MIXED, 18)}"


def access_key_secret() -> str:
    """Return 30 characters, 178 bits."""
    return _of(_MIXED, 30)


def principal_id() -> str:
    """Return the number of a user or role, 18 digits."""
    return "3" + _of(string.digits, 17)


def account_id() -> str:
    """Return the number of this console's account, 16 digits."""
    return "1" + _of(string.digits, 15)


def web_token() -> str:
    """Return a token for a session or a form, 256 bits."""
    return secrets.token_urlsafe(32)


def request_id() -> str:
    """Return such as `4F2B…-…`, upper case, as the cloud writes them."""
    raw = secrets.token_hex(16).upper()
    return "-".join((raw[:8], raw[8:12], raw[12:16], raw[16:20], raw[20:]))
