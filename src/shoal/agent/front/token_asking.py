"""What a client says to a token server, in either form of the protocol, and what it answers.

Source: distribution, docs/spec/auth/token.md (GET with Basic) and oauth.md (POST of a form).
Nothing here is ever logged: credentials and tokens are in all of it.
"""

import base64
import binascii
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeGuard
from urllib.parse import parse_qs, urlsplit, urlunsplit

from shoal.adapters.origin.auth import DEFAULT_TOKEN_LIFETIME_S
from shoal.core.errors import BadInput
from shoal.core.trust.credentials import Fingerprint, account_fingerprint

# Two scopes, a name, a password and a refresh token have some 2 KiB; an identity token of a cloud
# may have 8.
MAX_FORM_BYTES = 32 * 1024
MAX_FORM_FIELDS = 64
MAX_SCOPES = 64

_FORM_TYPE = "application/x-www-form-urlencoded"


@dataclass(frozen=True, slots=True)
class TokenRequest:
    """One client's question to a realm."""

    method: str
    query: str = field(repr=False)
    form: bytes | None = field(default=None, repr=False)
    authorization: str | None = field(default=None, repr=False)

    @property
    def headers(self) -> dict[str, str]:
        """What is sent on to the realm, and to nobody else."""
        headers = {"Accept": "application/json"}
        if self.authorization is not None:
            headers["Authorization"] = self.authorization
        if self.form is not None:
            headers["Content-Type"] = _FORM_TYPE
        return headers

    def url(self, realm: str) -> str:
        """Return the realm's URL with the client's query."""
        parts = urlsplit(realm)
        query = "&".join(part for part in (parts.query, self.query) if part)
        return urlunsplit((parts.scheme, parts.netloc, parts.path or "/", query, ""))

    @property
    def repositories(self) -> frozenset[str]:
        """Those that the token is wanted for, to pull.

        Raises:
            BadInput: more scopes or fields than anybody needs.
        """
        scopes = [word for text in self._fields().get("scope", ()) for word in text.split()]
        if len(scopes) > MAX_SCOPES:
            raise BadInput(f"{len(scopes)} scopes in one request")
        found = set()
        for scope in scopes:
            kind, _, rest = scope.partition(":")
            repository, _, actions = rest.rpartition(":")
            if kind == "repository" and "pull" in actions.split(","):
                found.add(repository)
        return frozenset(found)

    def account(self, *, key: bytes) -> Fingerprint | None:
        """Return what stands for the account that asks; None if it cannot be told.

        A name and password are the same account whichever way they come.
        """
        if self.form is None:
            if self.authorization is None:
                return account_fingerprint("anonymous", "", key=key)
            scheme, _, value = self.authorization.partition(" ")
            if scheme.lower() != "basic":
                return None
            try:
                pair = base64.b64decode(value.strip(), validate=True).decode()
            except (binascii.Error, ValueError):
                return None
            return account_fingerprint("basic", pair, key=key) if ":" in pair else None
        if self.authorization is not None:  # an OAuth2 client of its own: whose token would it be?
            return None
        fields = self._fields()
        match fields.get("grant_type"), fields.get("username"), fields.get("password"):
            case ["password"], [name], [password]:
                return account_fingerprint("basic", f"{name}:{password}", key=key)
        match fields.get("grant_type"), fields.get("refresh_token"):
            case ["refresh_token"], [token]:
                return account_fingerprint("refresh", token, key=key)
        return None

    def _fields(self) -> dict[str, list[str]]:
        text = self.query if self.form is None else self.form.decode("utf-8", "replace")
        try:
            return parse_qs(text, keep_blank_values=True, max_num_fields=MAX_FORM_FIELDS)
        except ValueError as error:
            raise BadInput("too many fields in one request for a token") from error


@dataclass(frozen=True, slots=True)
class Given:
    """The tokens in a realm's answer, and for how many seconds they last."""

    tokens: tuple[str, ...] = field(repr=False)
    lifetime_s: float


def given(body: bytes) -> Given | None:
    """Return what a realm's 200 gives, or None if it gives nothing that could be used."""
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return None
    if not isinstance(document, Mapping):
        return None
    tokens = (document.get("token"), document.get("access_token"))
    found = tuple(sorted({token for token in tokens if _is_token(token)}))
    lifetime_s = document.get("expires_in")
    if not isinstance(lifetime_s, int | float) or not 0 < lifetime_s < 1e9:
        lifetime_s = DEFAULT_TOKEN_LIFETIME_S
    return Given(found, float(lifetime_s)) if found else None


def _is_token(value: object) -> TypeGuard[str]:
    """Return whether a client could put it into a header."""
    return isinstance(value, str) and value != "" and value.isascii() and value.isprintable()
