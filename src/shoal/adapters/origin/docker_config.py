"""Reading credentials from a Docker `config.json`, as `docker login` writes it.

Source: docker/cli cli/config/configfile and cli/config/types; containers-auth.json(5), which adds
keys with a path. Credential helpers are programs, and an agent starts none: they are named in an
error instead.
"""

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from shoal.core.errors import BadInput, SettingsError
from shoal.core.reference import canonical_registry

MAX_CONFIG_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Credentials:
    """What to prove with who is asking: a user name and password, or an identity token."""

    username: str = ""
    password: str = field(default="", repr=False)
    identity_token: str = field(default="", repr=False)

    @property
    def basic(self) -> str:
        """The value of a Basic Authorization header."""
        pair = f"{self.username}:{self.password}".encode()
        return f"Basic {base64.b64encode(pair).decode()}"


@dataclass(frozen=True, slots=True)
class DockerConfig:
    """The credentials of one file, by registry or by registry and a path of repositories."""

    source: str
    credentials: Mapping[str, Credentials] = field(default_factory=dict)
    helpers: Mapping[str, str] = field(default_factory=dict)
    """Registries whose credentials only a helper program knows, and its name."""

    @classmethod
    def read(cls, path: Path) -> "DockerConfig":
        """Return what the file at `path` holds.

        Raises:
            SettingsError: it cannot be read or is malformed; the message names the entry and never
                shows its secret.
        """
        try:
            with path.open("rb") as file:
                body = file.read(MAX_CONFIG_BYTES + 1)
        except OSError as exc:
            raise SettingsError(f"cannot read Docker config {path}: {exc.strerror}") from exc
        if len(body) > MAX_CONFIG_BYTES:
            raise SettingsError(f"Docker config {path} is longer than {MAX_CONFIG_BYTES} bytes")
        return cls.parse(body, source=str(path))

    @classmethod
    def parse(cls, body: bytes, *, source: str) -> "DockerConfig":
        """Return what `body` holds; `source` names it in messages.

        Raises:
            SettingsError: malformed.
        """
        try:
            document = json.loads(body)
        except (ValueError, RecursionError):
            # Not chained: the error's text quotes the file.
            raise SettingsError(f"Docker config {source} is not JSON") from None
        if not isinstance(document, dict):
            raise SettingsError(f"Docker config {source} is not a JSON object")
        auths = _section(document, "auths", source)
        helpers = {
            _registry_key(key, source): str(helper)
            for key, helper in _section(document, "credHelpers", source).items()
        }
        store = document.get("credsStore")
        credentials = {}
        for key, entry in auths.items():
            name = _registry_key(key, source)
            if (found := _credentials(entry, key, source)) is not None:
                credentials[name] = found
            elif isinstance(store, str) and store:
                # Docker leaves an empty entry where the default store keeps the secret.
                helpers.setdefault(name, store)
        return cls(source, credentials, helpers)

    def credentials_for(self, registry: str, *, repository: str = "") -> Credentials | None:
        """Return the credentials for a repository: the longest matching key's, or None.

        Raises:
            SettingsError: only a credential helper knows them.
            BadInput: `registry` is no host name.
        """
        name = canonical_registry(registry)
        parts = [name, *repository.split("/")] if repository else [name]
        for length in range(len(parts), 0, -1):
            if (found := self.credentials.get("/".join(parts[:length]))) is not None:
                return found
        helper = self.helpers.get(name)
        if helper is not None:
            raise SettingsError(
                f"Docker config {self.source} leaves the credentials of {name} to the helper "
                f"docker-credential-{helper}, which is not supported: log in with a config that "
                "has no credHelpers and no credsStore"
            )
        return None


def _section(document: Mapping[str, Any], key: str, source: str) -> Mapping[str, Any]:
    section = document.get(key) or {}
    if not isinstance(section, dict):
        raise SettingsError(f"{key} of Docker config {source} is not an object")
    return section


def _registry_key(key: str, source: str) -> str:
    """Docker Hub's key is a URL, `https://index.docker.io/v1/`; others may be one too."""
    if "://" in key:
        try:
            parts = urlsplit(key)
        except ValueError as exc:
            raise SettingsError(f"Docker config {source} has an entry for {key!r}: {exc}") from exc
        host, path = parts.netloc, parts.path.strip("/")
        path = "" if path in ("v1", "v2") else path
    else:
        host, _, path = key.partition("/")
        path = "" if path.strip("/") in ("v1", "v2") else path.strip("/")
    try:
        name = canonical_registry(host)
    except BadInput as exc:
        raise SettingsError(f"Docker config {source} has an entry for {key!r}: {exc}") from exc
    return f"{name}/{path}" if path else name


def _credentials(entry: object, key: str, source: str) -> Credentials | None:
    where = f"entry {key!r} of Docker config {source}"
    if not isinstance(entry, dict):
        raise SettingsError(f"{where} is not an object")
    texts = {}
    for name in ("auth", "username", "password", "identitytoken"):
        value = entry.get(name) or ""
        if not isinstance(value, str):
            raise SettingsError(f"{name} of {where} is not a string")
        texts[name] = value
    username, password = texts["username"], texts["password"]
    if texts["auth"]:
        try:
            pair = base64.b64decode(texts["auth"], validate=True).decode()
        except ValueError:  # not base64, not even ASCII, or not UTF-8 inside
            raise SettingsError(f"auth of {where} is not base64 of user:password") from None
        username, colon, password = pair.partition(":")
        if not colon:
            raise SettingsError(f"auth of {where} is not base64 of user:password")
        password = password.rstrip("\x00")  # as docker/cli does: old files are padded
    if not username and not texts["identitytoken"]:
        return None
    return Credentials(username, password, texts["identitytoken"])
