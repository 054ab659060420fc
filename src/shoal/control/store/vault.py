"""Secrets at rest: sealed under a key that is a file of its own, beside the database.

HMAC signatures can only be checked by who knows the secret itself, so a hash will not do: access
keys' secrets are kept encrypted (AES-256-GCM, with the record's id as associated data, so that a
sealed secret cannot be moved to another key). Whoever has only the database, or only a backup made
without the key, has no secret.
"""

import base64
import os
import secrets
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from shoal.core.errors import SettingsError

KEY_BYTES = 32
_NONCE_BYTES = 12


class Vault:
    """Seals and opens secrets with one key."""

    def __init__(self, key: bytes) -> None:
        if len(key) != KEY_BYTES:
            raise SettingsError(f"the console's key has {len(key)} bytes instead of {KEY_BYTES}")
        self._cipher = AESGCM(key)

    def __repr__(self) -> str:
        return "Vault(key=…)"

    def seal(self, secret: str, *, belongs_to: str) -> str:
        """Return `secret` encrypted, as text; it opens only with the same `belongs_to`."""
        nonce = secrets.token_bytes(_NONCE_BYTES)
        sealed = self._cipher.encrypt(nonce, secret.encode(), belongs_to.encode())
        return base64.b64encode(nonce + sealed).decode()

    def open(self, sealed: str, *, belongs_to: str) -> str:
        """Return the secret that `seal` was given.

        Raises:
            SettingsError: Sealed under another key or for another record, or damaged.
        """
        raw = base64.b64decode(sealed)
        nonce, body = raw[:_NONCE_BYTES], raw[_NONCE_BYTES:]
        try:
            return self._cipher.decrypt(nonce, body, belongs_to.encode()).decode()
        except InvalidTag:
            raise SettingsError(
                f"the secret of {belongs_to} was not sealed with this key: use the key file that "
                "belongs to this database"
            ) from None


def open_vault(key_file: Path) -> Vault:
    """Return the vault of `key_file`, which is made (mode 0600) if it does not exist.

    Raises:
        SettingsError: The file cannot be read or made, or others may read it.
    """
    try:
        descriptor = os.open(key_file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        pass
    except OSError as error:
        raise SettingsError(f"cannot make the key file {key_file}: {error.strerror}") from error
    else:
        with os.fdopen(descriptor, "wb") as file:
            file.write(secrets.token_bytes(KEY_BYTES))
            file.flush()
            os.fsync(file.fileno())
    try:
        if key_file.stat().st_mode & 0o077:
            raise SettingsError(f"others may read {key_file}: chmod 600 {key_file}")
        return Vault(key_file.read_bytes())
    except OSError as error:
        raise SettingsError(f"cannot read the key file {key_file}: {error.strerror}") from error
