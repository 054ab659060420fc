"""Asks the registry on a client's behalf, and turns what it says into an answer or a refusal."""

import asyncio
from collections.abc import Mapping
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


@dataclass(frozen=True, slots=True)
class Exchange:
    """One request of one client, after the front knows what it means."""

    request: web.BaseRequest
    target: Target
    config: RegistryConfig
    holder: Holder
    authorization: str | None = field(default=None, repr=False)

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
        OriginError: it gave no answer, or one that says nothing about the content: 408, 429, 5xx.
    """
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
    return Refusal(str(error), cause=cause)


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
