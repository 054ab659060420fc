"""Asks the registry on a client's behalf, and turns what it says into an answer or a refusal."""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Protocol
from urllib.parse import quote, urlencode

from aiohttp import web

from shoal.adapters.origin.client import OriginAnswer, OriginStream
from shoal.adapters.origin.config import RegistryConfig
from shoal.agent.front.answers import API_VERSION, PASSED_HEADERS, Cause, Refusal
from shoal.agent.front.target import Target
from shoal.agent.ports import OriginGrant
from shoal.core.errors import OriginError, OriginLied
from shoal.core.trust.access import Holder
from shoal.core.trust.sessions import Session

# Answers that say nothing about the content: the registry is overloaded, broken or behind a broken
# gateway. Source: RFC 9110 section 15.
_TOO_MANY_REQUESTS = 429
_REQUEST_TIMEOUT = 408


class RegistryClient(Protocol):
    """What the front needs of `shoal.adapters.origin.client.OriginClient`, which says more."""

    def registry_for(self, name: str) -> RegistryConfig | None:
        """Return the registry that `name` is configured as, or None."""
        ...

    async def ask(
        self,
        registry: RegistryConfig,
        method: str,
        path_and_query: str,
        *,
        headers: Mapping[str, str],
    ) -> OriginAnswer:
        """Ask for something small; every status is returned as it is."""
        ...

    def stream(
        self, registry: RegistryConfig, path_and_query: str, *, headers: Mapping[str, str]
    ) -> AbstractAsyncContextManager[OriginStream]:
        """Open a GET whose body is passed through."""
        ...


class RealmClient(Protocol):
    """What the front needs of it to have tokens."""

    def registry_for(self, name: str) -> RegistryConfig | None:
        """Return the registry that `name` is configured as, or None."""
        ...

    async def ask_realm(
        self,
        registry: RegistryConfig,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str],
        body: bytes | None = None,
        only_listed: bool = False,
    ) -> OriginAnswer:
        """Ask a token realm that the registry named."""
        ...


class FrontClient(RegistryClient, RealmClient, Protocol):
    """All of that."""


class Login(Protocol):
    """This node's own credential for one request; `shoal.agent.front.node_login` has it."""

    @property
    def header(self) -> str | None:
        """The Authorization header to send now, or None if none could be had."""
        ...

    async def again(self, challenges: Sequence[str]) -> bool:
        """The registry answered 401: find another header; False if there is none.

        Raises:
            OriginError: the token realm gave no answer.
        """
        ...


@dataclass(frozen=True, slots=True)
class Exchange:
    """One request of one client, after the front knows what it means."""

    request: web.BaseRequest
    target: Target
    config: RegistryConfig
    holder: Holder
    sent: str | None = field(default=None, repr=False)
    """The client's own Authorization header."""
    session: Session | None = None
    """What its token stands for, if that is known."""
    login: Login | None = None
    """In node mode: the credential that is used in place of the client's."""

    @property
    def authorization(self) -> str | None:
        """The Authorization header to show the registry, or None for anonymous."""
        if self.is_local:
            return None
        return self.sent if self.login is None else self.login.header

    @property
    def is_local(self) -> bool:
        """Whether this node let the client in itself, because the registry's realm was away."""
        return self.session is not None and self.session.is_local

    @property
    def grant(self) -> OriginGrant:
        """The right by which the registry may be asked for this client."""
        return OriginGrant(self.holder.repository, self.authorization)

    @property
    def is_head(self) -> bool:
        """Whether the client wants headers only."""
        return self.request.method == "HEAD"

    @property
    def fields(self) -> dict[str, object]:
        """What a log line says of the request; no credential is among it."""
        return {
            "registry": self.config.name,
            "repository": self.holder.repository,
            "path": self.target.route.path,
            "method": self.request.method,
        }


async def ask(
    client: RegistryClient,
    exchange: Exchange,
    method: str,
    path_and_query: str,
    *,
    accept: str | None = None,
    timeout_s: float,
) -> OriginAnswer:
    """Ask the registry with the client's credential, for `timeout_s` at most.

    Raises:
        OriginError: it gave no answer, or one that says nothing about the content: 408, 429, 5xx;
            or it cannot be asked with a credential that is this node's own word.
    """
    if exchange.is_local:
        raise OriginError(
            f"{exchange.config.name} is not asked: its token server did not answer when this "
            "client was let in"
        )
    answer = await _answer(client, exchange, method, path_and_query, accept, timeout_s)
    login = exchange.login
    if login is None or answer.status != 401:
        return answer
    if not await login.again(answer.headers.getall("WWW-Authenticate", ())):
        return answer
    return await _answer(client, exchange, method, path_and_query, accept, timeout_s)


async def _answer(
    client: RegistryClient,
    exchange: Exchange,
    method: str,
    path_and_query: str,
    accept: str | None,
    timeout_s: float,
) -> OriginAnswer:
    headers: dict[str, str] = {}
    if exchange.authorization is not None:
        headers["Authorization"] = exchange.authorization
    if accept is not None:
        headers["Accept"] = accept
    try:
        async with asyncio.timeout(timeout_s):
            answer = await client.ask(exchange.config, method, path_and_query, headers=headers)
    except TimeoutError as error:
        raise OriginError(
            f"{exchange.config.name} gave no whole answer within {timeout_s:g} s"
        ) from error
    if answer.status in (_REQUEST_TIMEOUT, _TOO_MANY_REQUESTS) or answer.status >= 500:
        raise OriginError(
            f"{exchange.config.name} answered {answer.status} to {method} {path_and_query}",
            status=answer.status,
        )
    return answer


def unavailable(error: OriginError) -> Refusal:
    """Return the refusal for a registry that gave no usable answer."""
    lied = isinstance(error, OriginLied)
    cause = Cause.CONTENT_WRONG if lied else Cause.REGISTRY_UNAVAILABLE
    return Refusal(str(error), cause=cause, is_outage=is_unreachable(error))


def is_unreachable(error: OriginError) -> bool:
    """Whether the registry is away: only then may what it said earlier stand in for its answer.

    One that answers 429 or lies is there.
    """
    if isinstance(error, OriginLied):
        return False
    return error.status is None or error.status >= 500


def passed_on(answer: OriginAnswer, target: Target) -> web.Response:
    """Return the registry's own answer, challenges and all."""
    headers = dict(API_VERSION)
    response = web.Response(status=answer.status, body=answer.body, headers=headers)
    for name in PASSED_HEADERS:
        for value in answer.headers.getall(name, ()):
            response.headers.add(name, _client_link(value, target) if name == "Link" else value)
    return response


def wire_path(target: Target) -> str:
    """Return path and query to ask the registry for, without what was meant for the front."""
    path = quote(target.route.path, safe="/:@-._~")
    return f"{path}?{urlencode(target.query)}" if target.query else path


def _client_link(link: str, target: Target) -> str:
    """Return a Link of the registry's so that it leads through the front again.

    Only the relative form that the distribution specification shows (`</v2/name/tags/list?...>`) is
    changed; an absolute one leads to the registry itself, which is right as well.
    """
    if not link.startswith("</v2/"):
        return link
    url, closing, rest = link[1:].partition(">")
    if target.prefix:
        url = f"/v2/{target.prefix}/{url.removeprefix('/v2/')}"
    if target.by_ns:
        url += ("&" if "?" in url else "?") + urlencode({"ns": target.registry.name})
    return f"<{url}{closing}{rest}"
