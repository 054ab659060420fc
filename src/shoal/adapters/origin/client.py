"""The client for registries: the only place from which Shoal asks one."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Protocol

from multidict import CIMultiDictProxy

from shoal.adapters.origin.config import RegistryConfig
from shoal.core.blob import BlobSpec
from shoal.core.oci.manifests import MAX_MANIFEST_BYTES


class Grant(Protocol):
    """By which right a registry is asked; the agent's OriginGrant is one."""

    @property
    def repository(self) -> str:
        """The repository in which the content is asked for."""
        ...

    @property
    def authorization(self) -> str | None:
        """The Authorization header's value, or None for anonymous."""
        ...


@dataclass(frozen=True, slots=True)
class OriginAnswer:
    """A registry's whole answer; `headers` compare without case. The body may be a secret."""

    status: int
    headers: CIMultiDictProxy[str] = field(repr=False)
    body: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class OriginStream:
    """A registry's answer whose body is still arriving."""

    status: int
    headers: CIMultiDictProxy[str] = field(repr=False)
    chunks: AsyncIterator[bytes] = field(repr=False)


class OriginClient:
    """Asks the configured registries, and no other host but those they redirect to.

    Connecting takes at most 3 s, the headers of an answer at most 10 s, and a body that moves less
    than 4 KiB in 10 s of waiting is given up. An Authorization header goes to the registry's own
    host and port only, never to where it redirects.

    Use as an async context manager, or call `close`.
    """

    def __init__(self, registries: Sequence[RegistryConfig]) -> None: ...

    async def __aenter__(self) -> "OriginClient":
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close every connection. Idempotent."""

    def registry_for(self, name: str) -> RegistryConfig | None:
        """Return the registry that `name` (or an alias of it) is configured as, or None."""
        raise NotImplementedError

    async def ask(
        self,
        registry: RegistryConfig,
        method: str,
        path_and_query: str,
        *,
        headers: Mapping[str, str],
        max_body_bytes: int = MAX_MANIFEST_BYTES,
    ) -> OriginAnswer:
        """Ask for something small: a manifest, tags, referrers, `/v2/`, or HEAD of anything.

        Redirects are followed, at most 5. Every status is returned as it is, 401 with its
        challenges and 404 too.

        Args:
            registry: one of the configured.
            method: GET or HEAD.
            path_and_query: as on the wire, beginning with `/v2/`.
            headers: of these only Accept, Authorization, Range, If-Range, If-None-Match and
                If-Match are sent on.
            max_body_bytes: a longer body of a 2xx is an error, of any other status left out.

        Raises:
            OriginLied: the body is longer than allowed or has a content-encoding.
            OriginError: no answer in time, refused, a redirect loop, or a redirect to an address
                that is not allowed.
        """
        raise NotImplementedError

    def stream(
        self,
        registry: RegistryConfig,
        path_and_query: str,
        *,
        headers: Mapping[str, str],
    ) -> AbstractAsyncContextManager[OriginStream]:
        """Open a GET whose body is passed through without being kept; else as `ask`.

        Entering gives status and headers at once; iterating `chunks` raises OriginError when the
        registry stops before the length that it promised.
        """
        raise NotImplementedError

    async def ask_realm(
        self,
        registry: RegistryConfig,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str],
        body: bytes | None = None,
    ) -> OriginAnswer:
        """Ask a token realm that this registry named in a challenge; no redirect is followed.

        The Authorization in `headers` goes to the realm. The realm must be https unless the
        registry is plain HTTP, and its address allowed as a redirect's must be.

        Raises:
            OriginError: as `ask`.
        """
        raise NotImplementedError

    def fetch(
        self, spec: BlobSpec, grant: Grant, *, start: int, end: int
    ) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        """Open bytes [start, end) of a blob or manifest at the registry or its storage.

        See `shoal.agent.ports.Origin.fetch`, which this fulfils. An OriginLied with `status` 200
        means that the registry ignores Range for this blob: it can only be asked for whole.
        """
        raise NotImplementedError
