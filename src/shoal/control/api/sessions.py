"""Temporary credentials. None is stored: the token is the session, sealed with the vault's key."""

import json
import secrets
from binascii import Error as NotBase64
from dataclasses import asdict, dataclass

from shoal.control.api.faults import Fault
from shoal.control.store import ids
from shoal.control.store.vault import Vault
from shoal.core.errors import SettingsError

MAX_TOKEN_CHARS = 16_384


@dataclass(frozen=True, slots=True)
class Session:
    """An assumed role, by its number: a new role of its name has another."""

    role_id: str
    name: str
    expires_at_s: int
    policy: str  # narrows what the role may do; empty for no narrowing


@dataclass(frozen=True, slots=True)
class Credentials:
    """What an assumed role's holder signs with."""

    key_id: str
    secret: str
    token: str

    def __repr__(self) -> str:
        return f"Credentials({self.key_id}, secret=…, token=…)"


def issue(vault: Vault, session: Session) -> Credentials:
    """Return new credentials for a session."""
    key_id, secret = f"STS.{ids.access_key_id()[6:]}", ids.access_key_secret()
    inner = json.dumps({**asdict(session), "secret": secret, "salt": secrets.token_hex(4)})
    return Credentials(key_id, secret, vault.seal(inner, belongs_to=f"session {key_id}"))


def open_session(vault: Vault, *, key_id: str, token: str, now_s: int) -> tuple[Session, str]:
    """Return the session of a token, and its secret.

    Raises:
        Fault: The token is damaged, another key's, or expired.
    """
    try:
        if len(token) > MAX_TOKEN_CHARS:
            raise ValueError
        inner = json.loads(vault.open(token, belongs_to=f"session {key_id}"))
        secret = inner.pop("secret")
        del inner["salt"]
        session = Session(**inner)
    except (SettingsError, NotBase64, ValueError, KeyError, TypeError):
        raise Fault(
            400, "InvalidSecurityToken.Malformed", "Specified SecurityToken is malformed."
        ) from None
    if session.expires_at_s <= now_s:
        raise Fault(400, "InvalidSecurityToken.Expired", "Specified SecurityToken is expired.")
    return session, secret
