"""Proving to a registry who is asking: Basic, or Bearer with tokens from its realm.

For requests that Shoal makes on its own account (`shoal pull`, node mode). What a container runtime
asks through the front is not touched here: its own header passes through.
"""

import asyncio
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Protocol
from urllib.parse import urlencode, urlsplit, urlunsplit

from shoal.adapters.origin.client import OriginAnswer
from shoal.adapters.origin.docker_config import Credentials
from shoal.core.errors import BadInput, OriginDenied, OriginError, OriginLied
from shoal.core.oci.challenges import Challenge, parse_challenges, token_url

# Source: distribution's token specification, "expires_in": 60 s where it is missing.
DEFAULT_TOKEN_LIFETIME_S = 60.0
MAX_TOKENS = 1024
_CLIENT_ID = "shoal"  # OAuth2 wants a name for who asks; realms log it


class AskRealm(Protocol):
    """How a realm is asked: `OriginClient.ask_realm` with its registry bound is one."""

    async def __call__(
        self, method: str, url: str, *, headers: Mapping[str, str], body: bytes | None = None
    ) -> OriginAnswer:
        """Send the request and return the answer.

        Raises:
            OriginError: there was none.
        """
        ...


@dataclass(frozen=True, slots=True)
class _Token:
    value: str = field(repr=False)
    until_s: float


class Authenticator:
    """One registry's credentials, and the tokens that they were exchanged for.

    Ask with `header_for`'s header, if it knows one; on a 401 let `answer` find another and ask once
    more. A second 401 means no.
    """

    def __init__(
        self,
        credentials: Credentials | None,
        *,
        ask_realm: AskRealm,
        now_s: Callable[[], float] | None = None,
    ) -> None:
        """Use `credentials`, or none for anonymous.

        Args:
            credentials: of this registry.
            ask_realm: asks the token realm.
            now_s: a clock that only goes forward, in seconds; the event loop's if None.
        """
        self._credentials = credentials
        self._ask_realm = ask_realm
        self._now_s = now_s
        self._tokens: dict[str, _Token] = {}
        self._is_basic = False
        self._exchange = asyncio.Lock()  # a pull's many requests need one token, not one each

    def header_for(self, scope: str) -> str | None:
        """Return the Authorization header to send for `scope` at once, if one is known.

        Args:
            scope: such as `repository:library/nginx:pull`; "" for `/v2/`.
        """
        if self._is_basic and self._credentials is not None:
            return self._credentials.basic
        token = self._tokens.get(scope)
        if token is None:
            return None
        if self._now() >= token.until_s:
            del self._tokens[scope]
            return None
        return f"Bearer {token.value}"

    async def answer(
        self, challenges: Iterable[str], *, scope: str, refused: str | None = None
    ) -> str:
        """Return the Authorization header that answers a 401.

        Args:
            challenges: its WWW-Authenticate headers.
            scope: what is wanted; taken over the challenge's own.
            refused: the header that the 401 was the answer to, so that it is not given again.

        Raises:
            OriginDenied: these credentials do not do, or none are set and some are needed.
            OriginLied: the challenge or the token is malformed.
            OriginError: the realm gave no answer.
        """
        try:
            parsed = parse_challenges(challenges)
        except BadInput as exc:
            raise OriginLied(f"challenge of the registry is malformed: {exc}", status=401) from exc
        for challenge in parsed:
            if challenge.scheme == "bearer":
                return await self._exchanged(challenge, scope, refused)
        if any(challenge.scheme == "basic" for challenge in parsed):
            return self._basic(refused)
        offered = ", ".join(challenge.scheme for challenge in parsed) or "none"
        raise OriginDenied(
            f"registry wants an authentication that is not supported (offered: {offered[:100]})",
            status=401,
        )

    def _basic(self, refused: str | None) -> str:
        if self._credentials is None or not self._credentials.username:
            raise OriginDenied(
                "registry wants a user name and password, and none are set", status=401
            )
        if refused == self._credentials.basic:
            self._is_basic = False
            raise OriginDenied(
                f"registry refused the password of {self._credentials.username!r}", status=401
            )
        self._is_basic = True
        return self._credentials.basic

    async def _exchanged(self, challenge: Challenge, scope: str, refused: str | None) -> str:
        wanted = scope or challenge.get("scope") or ""
        async with self._exchange:
            known = self.header_for(wanted)
            if known is not None and known != refused:
                return known  # another request has fetched one meanwhile
            if known is not None:
                del self._tokens[wanted]
            token = await self._fetch_token(challenge, wanted)
            while len(self._tokens) >= MAX_TOKENS:
                del self._tokens[next(iter(self._tokens))]
            self._tokens[wanted] = token
            return f"Bearer {token.value}"

    async def _fetch_token(self, challenge: Challenge, scope: str) -> _Token:
        credentials = self._credentials
        scopes = [scope] if scope else []
        account = credentials.username if credentials is not None else ""
        try:
            url = token_url(challenge, scopes=scopes, account=account)
        except BadInput as exc:
            raise OriginLied(f"challenge of the registry: {exc}", status=401) from exc
        headers = {"Accept": "application/json"}
        if credentials is not None and credentials.identity_token:
            answer = await self._refresh(challenge, scopes, credentials.identity_token)
        else:
            if credentials is not None:
                headers["Authorization"] = credentials.basic
            answer = await self._ask_realm("GET", url, headers=headers)
        who = repr(credentials.username) if credentials is not None else "an anonymous client"
        host = urlsplit(url).hostname
        if answer.status in (401, 403):
            raise OriginDenied(
                f"token realm {host} refused {who} for {scope or 'any scope'}", status=answer.status
            )
        if answer.status != 200:
            raise OriginError(
                f"token realm {host} answered {answer.status}",
                status=answer.status,
                retry_after_s=answer.retry_after_s,
            )
        return self._read_token(answer.body, host or "")

    async def _refresh(
        self, challenge: Challenge, scopes: list[str], identity_token: str
    ) -> OriginAnswer:
        """Exchange an identity token. Source: distribution/docs/content/spec/auth/oauth.md."""
        form = {
            "grant_type": "refresh_token",
            "service": challenge.get("service") or "",
            "client_id": _CLIENT_ID,
            "refresh_token": identity_token,
            "scope": " ".join(scopes),
        }
        parts = urlsplit(challenge.get("realm") or "")
        url = urlunsplit((parts.scheme, parts.netloc, parts.path or "/", parts.query, ""))
        headers = {
            "Accept": "application/json",
            "Content-Type": "application/x-www-form-urlencoded",
        }
        return await self._ask_realm("POST", url, headers=headers, body=urlencode(form).encode())

    def _read_token(self, body: bytes, host: str) -> _Token:
        # Not chained, and nothing quoted: the body may well be a token.
        try:
            document = json.loads(body)
        except (ValueError, RecursionError):
            raise OriginLied(f"token realm {host} answered with no JSON") from None
        value = None
        if isinstance(document, dict):
            value = document.get("token") or document.get("access_token")
        if not isinstance(value, str) or not value.isascii() or not value.isprintable():
            raise OriginLied(f"token realm {host} answered without a token")
        lifetime = document.get("expires_in")
        if not isinstance(lifetime, int | float) or not 0 < lifetime < 1e9:
            lifetime = DEFAULT_TOKEN_LIFETIME_S
        # A tenth is left for the request's own time and for clocks that run apart.
        return _Token(value, self._now() + 0.9 * lifetime)

    def _now(self) -> float:
        return self._now_s() if self._now_s is not None else asyncio.get_running_loop().time()
