"""Who may read what in an embedded registry: anonymous, Basic, or Bearer with a token realm."""

import base64
import binascii
import secrets
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from shoal.core.oci.challenges import Challenge, pull_scope


class AuthMode(StrEnum):
    """How a registry wants to be shown who is asking."""

    ANONYMOUS = "anonymous"
    BASIC = "basic"
    BEARER = "bearer"


@dataclass(frozen=True, slots=True)
class Account:
    """A user of the registry."""

    password: str = field(repr=False)
    repositories: Collection[str] | None = None
    """Which it may read; None: all."""
    identity_token: str = field(default="", repr=False)
    """A refresh token that the realm takes in place of the password; empty: none."""


@dataclass(slots=True)
class RegistryAuth:
    """Accounts, and the tokens that the realm has issued.

    Basic knows no anonymous access. With Bearer, `public` repositories are readable by a token that
    anybody gets.
    """

    mode: AuthMode = AuthMode.ANONYMOUS
    accounts: Mapping[str, Account] = field(default_factory=dict)
    public: Collection[str] = ()
    service: str = "embedded registry"
    token_lifetime_s: int = 300
    realm: str = ""
    """Where tokens are had; empty: `/token` at the registry itself."""
    _tokens: dict[str, frozenset[str]] = field(default_factory=dict, repr=False)

    def status_for(self, authorization: str | None, repository: str | None) -> int:
        """Return 200, 401 (who are you?) or 403 (not you) for a request.

        Args:
            authorization: the Authorization header.
            repository: which is asked for; None for `/v2/`.
        """
        if self.mode is AuthMode.ANONYMOUS:
            return 200
        scheme, _, credential = (authorization or "").partition(" ")
        if scheme.lower() != self.mode:
            return 401
        if self.mode is AuthMode.BEARER:
            scopes = self._tokens.get(credential.strip())
            if scopes is None:
                return 401
            return 200 if repository is None or pull_scope(repository) in scopes else 401
        account = self.account_of(authorization)
        if account is None:
            return 401
        return 200 if repository is None or _may_read(account, repository) else 403

    def challenge(self, realm: str, repository: str | None) -> str:
        """Return the value of WWW-Authenticate for a 401."""
        if self.mode is AuthMode.BASIC:
            return str(Challenge("basic", (("realm", self.service),)))
        parameters = [("realm", self.realm or realm), ("service", self.service)]
        if repository is not None:
            parameters.append(("scope", pull_scope(repository)))
        return str(Challenge("bearer", tuple(parameters)))

    def account_of(self, authorization: str | None) -> Account | None:
        """Return the account that a Basic credential is right for, or None."""
        scheme, _, credential = (authorization or "").partition(" ")
        if scheme.lower() != "basic":
            return None
        try:
            text = base64.b64decode(credential, validate=True).decode()
        except (binascii.Error, UnicodeDecodeError):
            return None
        user, _, password = text.partition(":")
        return self.account_of_login(user, password)

    def account_of_login(self, user: str, password: str) -> Account | None:
        """Return the account that this name and password are right for, or None."""
        account = self.accounts.get(user)
        return account if account is not None and account.password == password else None

    def account_of_identity_token(self, token: str) -> Account | None:
        """Return the account whose identity token this is, or None."""
        return next(
            (a for a in self.accounts.values() if token and a.identity_token == token), None
        )

    def issue(self, account: Account | None, scopes: Collection[str]) -> str:
        """Return a new token for those of `scopes` that `account` (None: anybody) may have."""
        granted = {scope for scope in scopes if self._may_have(account, scope)}
        token = secrets.token_urlsafe(24)
        self._tokens[token] = frozenset(granted)
        return token

    def revoke_tokens(self) -> None:
        """Make every issued token invalid, as time does."""
        self._tokens.clear()

    def _may_have(self, account: Account | None, scope: str) -> bool:
        kind, _, rest = scope.partition(":")
        repository, _, actions = rest.rpartition(":")
        if kind != "repository" or actions != "pull":
            return False
        return repository in self.public or (account is not None and _may_read(account, repository))


def _may_read(account: Account, repository: str) -> bool:
    return account.repositories is None or repository in account.repositories
