"""Requests to one registry and to where it redirects, each with a bound in time."""

import asyncio
import contextlib
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from types import TracebackType

import aiohttp
from yarl import URL

from shoal import __version__
from shoal.adapters.origin.config import Bounds, RegistryConfig
from shoal.adapters.origin.targets import (
    MAX_REDIRECTS,
    AddressRefused,
    GuardedResolver,
    check_target,
    origin_of,
)
from shoal.core.errors import OriginError, OriginLied, SettingsError

# A safety net: how many requests a blob may use at once is for the transfers to decide.
MAX_CONNECTIONS = 64
# asyncio reads 256 KiB at a time: room for two of those before the connection is held back.
_READ_BUFFER_BYTES = 512 * 1024
# aiohttp's default of 8 KiB leaves a signed URL with a session token (2 KiB and more) little room.
_MAX_HEADER_BYTES = 32 * 1024
_MAX_REDIRECT_BODY_BYTES = 16 * 1024  # Go's net/http writes some hundred

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
# What callers may send on; all else a runtime sends (cookies, tracing) is none of a registry's
# business. Authorization is dealt with apart.
_FORWARDED_HEADERS = ("Accept", "Range", "If-Range", "If-None-Match", "If-Match")


@dataclass(frozen=True, slots=True)
class Opened:
    """An answer whose body was not read yet. Close it, whatever happens."""

    response: aiohttp.ClientResponse
    url: URL
    """Which URL answered."""

    redirect: aiohttp.ClientResponse | None
    """The last answer that led to another host, or None; its body is closed."""

    @property
    def is_away(self) -> bool:
        """Whether another host than the registry's own answered."""
        return self.redirect is not None

    async def __aenter__(self) -> "Opened":
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # A body that was not read to its end cannot be told from a slow one: the connection goes.
        if kind is None and self.response.content.at_eof():
            self.response.release()
        else:
            self.response.close()


class Connections:
    """Connections of one registry: those to its own host, and those to where it redirects.

    They are kept apart because only the second kind must look at the address it connects to.
    """

    def __init__(self, registry: RegistryConfig, *, tls: ssl.SSLContext, bounds: Bounds) -> None:
        """Ask `registry`; needs a running loop."""
        self._registry = registry
        self._bounds = bounds
        self._base = URL(registry.url, encoded=True)
        self._origin = origin_of(self._base)
        self._home = _session(aiohttp.TCPConnector(ssl=tls, limit=MAX_CONNECTIONS), bounds)
        self._resolver = GuardedResolver(registry)
        self._away = _session(
            aiohttp.TCPConnector(ssl=tls, limit=MAX_CONNECTIONS, resolver=self._resolver), bounds
        )

    async def close(self) -> None:
        """Close every connection."""
        await self._home.close()
        await self._away.close()
        await self._resolver.close()

    def url(self, path_and_query: str) -> URL:
        """Return the registry's URL for a path that begins with `/v2/`, as on the wire.

        Raises:
            ValueError: it does not begin so, or holds a character that no request line may.
        """
        if not path_and_query.startswith("/v2/") or not path_and_query.isascii():
            raise ValueError(f"not a path of the registry API: {path_and_query[:160]!r}")
        if any(c <= " " or c == "\x7f" for c in path_and_query):
            raise ValueError(f"path with a space or control character: {path_and_query[:160]!r}")
        return URL(f"{self._registry.url}{path_and_query}", encoded=True)

    async def open(
        self,
        method: str,
        url: URL,
        *,
        headers: Mapping[str, str],
        what: str,
        is_away: bool = False,
    ) -> Opened:
        """Send a request and return the answer once its headers are here, redirects followed.

        Args:
            method: GET or HEAD.
            url: at the registry, or, with `is_away`, a target that it redirected to before.
            headers: Authorization is sent to the registry's own scheme, host and port only.
            what: begins every error's message.
            is_away: check the address that `url` leads to, and send no Authorization.

        Raises:
            OriginError: no answer in time; or, with the redirect's status, a redirect loop or a
                target that is not allowed.
            OriginLied: the body has a content-encoding that was not asked for.
        """
        redirect: aiohttp.ClientResponse | None = None
        status: int | None = None  # of the last redirect, on whichever host
        until_s = asyncio.get_running_loop().time() + self._bounds.headers_s
        for _ in range(MAX_REDIRECTS + 1):
            is_home = not is_away and origin_of(url) == self._origin
            if not is_home:
                check_target(self._registry, url, what="redirect", status=status)
            sent = {name: headers[name] for name in _FORWARDED_HEADERS if name in headers}
            if is_home and "Authorization" in headers:
                sent["Authorization"] = headers["Authorization"]
            response = await self._request(
                self._home if is_home else self._away,
                method,
                url,
                headers=sent,
                until_s=until_s,
                what=what,
                redirect_status=status,
            )
            if response.status not in _REDIRECTS or "Location" not in response.headers:
                _check_encoding(response, what=what)
                return Opened(response, url, redirect)
            await _put_back(response, until_s=until_s)
            status = response.status
            url = _target(response, url, what=what)
            # Once away always away: a chain that comes back must not be given credentials by a
            # host that is not the registry's.
            is_away = is_away or origin_of(url) != self._origin
            redirect = response if is_away else redirect
        raise OriginError(f"{what}: more than {MAX_REDIRECTS} redirects: gave up", status=status)

    async def ask_realm(
        self, method: str, url: URL, *, headers: Mapping[str, str], body: bytes | None, what: str
    ) -> Opened:
        """Send one request to a token realm; a redirect is returned as it is.

        Raises:
            OriginError: no answer in time, or a realm that is not allowed.
        """
        is_home = origin_of(url) == self._origin
        if not is_home:
            check_target(self._registry, url, what="token realm")
        session = self._home if is_home else self._away
        until_s = asyncio.get_running_loop().time() + self._bounds.headers_s
        response = await self._request(
            session, method, url, headers=headers, body=body, until_s=until_s, what=what
        )
        return Opened(response, url, None)

    async def _request(
        self,
        session: aiohttp.ClientSession,
        method: str,
        url: URL,
        *,
        headers: Mapping[str, str],
        until_s: float,
        what: str,
        body: bytes | None = None,
        redirect_status: int | None = None,
    ) -> aiohttp.ClientResponse:
        try:
            async with asyncio.timeout_at(until_s):
                return await session.request(
                    method, url, headers=headers, data=body, allow_redirects=False
                )
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as exc:
            # A registry that sends us where we must not go is there; storage that is gone is not.
            is_refused = isinstance(exc.__cause__, AddressRefused)
            # Not chained: aiohttp puts whole URLs into some messages, signatures and all.
            raise OriginError(
                f"{what}: {_cause(exc, url, self._bounds)}",
                status=redirect_status if is_refused else None,
            ) from None


def tls_context(registry: RegistryConfig) -> ssl.SSLContext:
    """Return what checks the certificates of a registry: the system's authorities and its own.

    Raises:
        SettingsError: its `ca_file` cannot be read or holds no certificate.
    """
    context = ssl.create_default_context()
    if registry.ca_file is not None:
        try:
            context.load_verify_locations(cafile=registry.ca_file)
        except (OSError, ssl.SSLError) as exc:
            raise SettingsError(
                f"registry {registry.name!r}: ca_file {str(registry.ca_file)!r} is no readable PEM "
                f"file of certificates: {exc.strerror or exc}"
            ) from exc
    return context


def retry_after_s(headers: Mapping[str, str], *, now: datetime | None = None) -> float | None:
    """Return what a `Retry-After` header says, in seconds from now, or None if it says nothing."""
    text = headers.get("Retry-After", "").strip()
    if text.isdecimal() and len(text) < 10:
        return float(text)
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return None
    aware = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
    return max(0.0, (aware - (now or datetime.now(UTC))).total_seconds())


def _session(connector: aiohttp.TCPConnector, bounds: Bounds) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        connector=connector,
        # A registry's cookie would be a credential that follows nobody's rules.
        cookie_jar=aiohttp.DummyCookieJar(),
        headers={"User-Agent": f"shoal/{__version__}", "Accept-Encoding": "identity"},
        auto_decompress=False,
        trust_env=False,
        read_bufsize=_READ_BUFFER_BYTES,
        max_line_size=_MAX_HEADER_BYTES,
        max_field_size=_MAX_HEADER_BYTES,
        timeout=aiohttp.ClientTimeout(
            total=None, connect=bounds.connect_s, sock_connect=bounds.connect_s
        ),
    )


async def _put_back(response: aiohttp.ClientResponse, *, until_s: float) -> None:
    """End a redirect so that its connection can be used again: its body is a line of HTML."""
    length = response.content_length
    if length is not None and length <= _MAX_REDIRECT_BODY_BYTES:
        with contextlib.suppress(aiohttp.ClientError, TimeoutError, OSError):
            async with asyncio.timeout_at(until_s):
                await response.read()
    response.close()


def _target(response: aiohttp.ClientResponse, url: URL, *, what: str) -> URL:
    location = response.headers["Location"]
    if not location.isascii() or any(c <= " " or c == "\x7f" for c in location):
        raise OriginError(f"{what}: redirect to a malformed URL", status=response.status)
    try:
        # `encoded`: a signature covers the URL's exact spelling.
        return url.join(URL(location, encoded=True))
    except ValueError:
        raise OriginError(f"{what}: redirect to a malformed URL", status=response.status) from None


def _check_encoding(response: aiohttp.ClientResponse, *, what: str) -> None:
    encoding = response.headers.get("Content-Encoding", "identity").strip().lower()
    if encoding not in ("", "identity") and response.status < 300:
        response.close()
        raise OriginLied(f"{what}: sent with content-encoding {encoding[:32]!r}, asked for none")


def _cause(exc: BaseException, url: URL, bounds: Bounds) -> str:
    host = f"{url.scheme}://{url.raw_authority.rpartition('@')[2]}"
    match exc:
        case aiohttp.ConnectionTimeoutError():
            return (
                f"no connection to {host} within {bounds.connect_s:g} s: it cannot be reached, or "
                f"all {MAX_CONNECTIONS} connections to it are in use"
            )
        case TimeoutError():
            return f"no answer from {host} within {bounds.headers_s:g} s"
        case aiohttp.ClientConnectorDNSError():
            cause = exc.__cause__
            if isinstance(cause, AddressRefused):
                return f"redirect to {host} is refused: {cause}"
            return f"cannot resolve the name of {host}: {getattr(cause, 'strerror', None) or cause}"
        case aiohttp.ClientConnectorCertificateError():
            reason = getattr(exc.certificate_error, "verify_message", "not valid for this name")
            return f"certificate of {host} is not trusted ({reason}): set ca_file for a private CA"
        case aiohttp.ClientConnectorSSLError():
            return f"TLS with {host} failed: {exc.strerror or 'handshake failed'}"
        case aiohttp.ClientConnectorError():
            return f"cannot connect to {host}: {exc.strerror or 'refused'}"
        case aiohttp.ServerDisconnectedError() | ConnectionError():
            return f"{host} closed the connection without an answer"
        case aiohttp.ClientResponseError():
            return f"{host} answered with malformed HTTP"
        case _:
            return f"request to {host} failed ({type(exc).__name__})"
