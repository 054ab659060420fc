"""Requests to a Kubernetes API server as this pod's service account, each bounded in time and size.

Why this and no client library: docs/design/0009-kubernetes-client.md.
"""

import asyncio
import json
import os
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import aiohttp
from yarl import URL

from shoal import __version__
from shoal.core.endpoint import Endpoint
from shoal.core.errors import BadInput, SettingsError, ShoalError

# Source: Kubernetes documentation, "Accessing the Kubernetes API from a Pod".
ACCOUNT_DIR = Path("/var/run/secrets/kubernetes.io/serviceaccount")
# etcd takes objects of 1.5 MiB, whose JSON is a few times longer at most.
MAX_EVENT_BYTES = 8 * 1024**2
# An API server's cache answers a list as a whole, whatever limit was asked for: 5,000 endpoints
# are 2 to 3 MB.
MAX_PAGE_BYTES = 32 * 1024**2
_READ_BUFFER_BYTES = 256 * 1024
_MAX_TOKEN_BYTES = 16 * 1024
_MAX_REASON_BYTES = 4 * 1024
_CONNECT_TIMEOUT_S = 10.0
_ANSWER_TIMEOUT_S = 30.0
_MAX_RETRY_AFTER_S = 60.0

PatchKind = Literal["json", "merge", "strategic"]
# Source: Kubernetes documentation, "Update API objects in place using kubectl patch".
_PATCH_TYPES: Mapping[PatchKind, str] = {
    "json": "application/json-patch+json",
    "merge": "application/merge-patch+json",
    "strategic": "application/strategic-merge-patch+json",
}

# Source: Kubernetes documentation, "Alternate representations of resources". Of nodes, the rest is
# twenty times as long.
_METADATA_OF_A_LIST = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
_METADATA_OF_ONE = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"


class KubeError(ShoalError):
    """The API server did not give what was asked; `retry_after_s` is when it wants to be asked."""

    exit_code = 69  # EX_UNAVAILABLE of sysexits.h
    retryable = True

    def __init__(self, message: str, *, retry_after_s: float = 0.0) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class KubeGone(KubeError):
    """The version or page that was asked for is too old to be had: list anew."""


class KubeMissing(KubeError):
    """There is no such object, or the server knows no such kind (404)."""

    retryable = False


class KubeConflict(KubeError):
    """Somebody else has made or changed the object (409): read it and decide again."""

    retryable = False


class KubeRefused(KubeError):
    """The server will not do this however often it is asked: no permission, or a wrong object."""

    exit_code = 77  # EX_NOPERM of sysexits.h
    retryable = False


# 409 comes twice, as AlreadyExists and Conflict; to whoever asked both mean the same.
_BY_STATUS: Mapping[int, type[KubeError]] = {
    400: KubeRefused,
    401: KubeError,  # a token that was renewed this moment may be let in
    403: KubeRefused,
    404: KubeMissing,
    405: KubeRefused,
    409: KubeConflict,
    410: KubeGone,
    413: KubeRefused,
    415: KubeRefused,
    422: KubeRefused,
}


@dataclass(frozen=True, slots=True)
class KubeAccess:
    """Where an API server is, and the folder of the account that asks it."""

    server: str
    """Base URL, https."""

    account_dir: Path = ACCOUNT_DIR
    """Folder with `token` and `ca.crt`; the kubelet changes both while the pod runs."""

    def headers(self) -> dict[str, str]:
        """Return the headers of a request, with the token as it is now.

        Raises:
            KubeError: there is no token.
        """
        path = self.account_dir / "token"
        try:
            with path.open("rb") as file:
                token = file.read(_MAX_TOKEN_BYTES).decode("ascii").strip()
        except (OSError, UnicodeDecodeError) as exc:
            raise KubeError(f"cannot read the service account's token {path}: {exc}") from exc
        if not token or not token.isprintable():
            raise KubeError(f"{path} holds no token")
        return {"Authorization": f"Bearer {token}"}

    def tls(self) -> ssl.SSLContext:
        """Return a context that trusts the cluster's authority alone.

        Raises:
            KubeError: its certificate cannot be read.
        """
        path = self.account_dir / "ca.crt"
        try:
            return ssl.create_default_context(cafile=str(path))
        except (OSError, ssl.SSLError) as exc:
            raise KubeError(f"cannot read the cluster's certificate {path}: {exc}") from exc


def in_cluster_server(environment: Mapping[str, str] = os.environ) -> str:
    """Return the URL of the API server that the kubelet tells its pods.

    Raises:
        SettingsError: it tells none, so this is no pod.
    """
    host = environment.get("KUBERNETES_SERVICE_HOST", "")
    port = environment.get("KUBERNETES_SERVICE_PORT", "443")
    try:
        return f"https://{Endpoint.parse(f'[{host}]:{port}' if ':' in host else f'{host}:{port}')}"
    except BadInput:
        raise SettingsError(
            "membership.kubernetes: the variables KUBERNETES_SERVICE_HOST and _PORT name no API "
            "server, so this is no pod of a cluster: set membership.kubernetes.server"
        ) from None


class KubeConnection:
    """A session with one API server; from `connected`."""

    def __init__(self, access: KubeAccess, session: aiohttp.ClientSession) -> None:
        """Ask through `session`, which trusts the cluster."""
        self._access = access
        self._session = session

    async def page(
        self, path: str, query: Mapping[str, str], *, metadata_only: bool = False
    ) -> dict[str, Any]:
        """Return the JSON object at `path`, at most `MAX_PAGE_BYTES` long.

        Args:
            path: of a collection.
            query: selectors, limit, version.
            metadata_only: leave out all of the objects but their metadata.

        Raises:
            KubeGone: what was asked for is no longer there.
            KubeError: there was no such answer in time.
        """
        return await self._asked(
            "GET", path, query, accept=_METADATA_OF_A_LIST if metadata_only else ""
        )

    async def find(self, path: str) -> dict[str, Any] | None:
        """Return the object at `path`, or None if there is none.

        Raises:
            KubeError: it is not known whether there is one.
        """
        try:
            return await self._asked("GET", path)
        except KubeMissing:
            return None

    async def create(self, path: str, thing: Mapping[str, Any]) -> dict[str, Any]:
        """Put a new object into the collection at `path`, and return it as the server made it.

        Raises:
            KubeConflict: there is one of that name.
            KubeError: it was not made, or is not known to have been.
        """
        return await self._asked("POST", path, body=thing)

    async def replace(self, path: str, thing: Mapping[str, Any]) -> dict[str, Any]:
        """Write the object at `path` whole; with a `resourceVersion`, only if it is still that one.

        Raises:
            KubeConflict: somebody else has changed it.
            KubeError: it was not written, or is not known to have been.
        """
        return await self._asked("PUT", path, body=thing)

    async def patch(
        self,
        path: str,
        change: Mapping[str, Any] | Sequence[Mapping[str, Any]],
        *,
        kind: PatchKind = "merge",
    ) -> dict[str, Any]:
        """Change the object at `path`, or its part as `.../status`; return it as it is then.

        Args:
            path: of the object.
            change: in the form of `kind`.
            kind: `merge` puts lists as a whole, `strategic` by their elements' names (a node's
                conditions by their type; no kind of a CustomResourceDefinition knows it), `json`
                is a list of operations.

        Raises:
            KubeMissing: there is no such object.
            KubeError: it was not changed, or is not known to have been.
        """
        return await self._asked("PATCH", path, body=change, content_type=_PATCH_TYPES[kind])

    async def delete(self, path: str, *, preconditions: Mapping[str, str] | None = None) -> bool:
        """Delete the object at `path`, and then what it owns; return whether there was one.

        Args:
            path: of the object.
            preconditions: `uid` or `resourceVersion` that it must have.

        Raises:
            KubeConflict: it is another one.
            KubeError: it was not deleted, or is not known to have been.
        """
        options: dict[str, Any] = {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "propagationPolicy": "Background",
        }
        if preconditions:
            options["preconditions"] = dict(preconditions)
        try:
            await self._asked("DELETE", path, body=options)
        except KubeMissing:
            return False
        return True

    async def events(
        self,
        path: str,
        query: Mapping[str, str],
        *,
        silence_s: float,
        metadata_only: bool = False,
    ) -> AsyncGenerator[dict[str, Any], None]:
        """Yield the objects of a watch as they come, until the server ends it.

        That nothing came for `silence_s` seconds ends it too: a server that has vanished without a
        word looks like that. `metadata_only` leaves out all of the objects but their metadata.

        Raises:
            KubeGone: the version that was asked for is too old.
            KubeError: the watch could not begin, or was cut.
        """
        has_begun = False
        try:
            async with self._answer(
                "GET",
                path,
                query,
                read_timeout_s=silence_s,
                accept=_METADATA_OF_ONE if metadata_only else "",
            ) as response:
                has_begun = True
                async for line in _lines(response):
                    yield _object(line)
        except TimeoutError as exc:
            if not has_begun:
                raise _unreachable(self._access, exc) from exc
        except (aiohttp.ClientError, OSError) as exc:
            raise _unreachable(self._access, exc) from exc

    async def _asked(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        *,
        body: object = None,
        content_type: str = "application/json",
        accept: str = "",
    ) -> dict[str, Any]:
        try:
            async with (
                asyncio.timeout(_ANSWER_TIMEOUT_S),
                self._answer(
                    method,
                    path,
                    query or {},
                    read_timeout_s=_ANSWER_TIMEOUT_S,
                    body=None if body is None else json.dumps(body).encode(),
                    content_type=content_type,
                    accept=accept,
                ) as response,
            ):
                answer = await _read(response, MAX_PAGE_BYTES)
        except (aiohttp.ClientError, OSError, TimeoutError) as exc:  # TimeoutError has no text
            raise _unreachable(self._access, exc) from exc
        return _object(answer)

    @asynccontextmanager
    async def _answer(
        self,
        method: str,
        path: str,
        query: Mapping[str, str],
        *,
        read_timeout_s: float,
        body: bytes | None = None,
        content_type: str = "",
        accept: str = "",
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        timeout = aiohttp.ClientTimeout(
            total=None, sock_connect=_CONNECT_TIMEOUT_S, sock_read=read_timeout_s
        )
        url = URL(self._access.server).with_path(path).with_query(query)
        headers = self._access.headers()
        if body is not None:
            headers["Content-Type"] = content_type
        if accept:
            headers["Accept"] = accept
        async with self._session.request(
            method, url, headers=headers, data=body, timeout=timeout, allow_redirects=False
        ) as response:
            if 200 <= response.status < 300:
                yield response
                return
            reason = await _reason(response)
            message = f"{self._access.server} answered {response.status} for {path}: {reason}"
            error = _BY_STATUS.get(response.status, KubeError)
            raise error(message, retry_after_s=_retry_after_s(response))


@asynccontextmanager
async def connected(access: KubeAccess, *, most: int = 2) -> AsyncIterator[KubeConnection]:
    """Open a session that trusts what `ca.crt` holds now, of `most` connections at once.

    Raises:
        KubeError: there is no such file.
    """
    connector = aiohttp.TCPConnector(ssl=access.tls(), limit=most)
    async with aiohttp.ClientSession(
        connector=connector,
        cookie_jar=aiohttp.DummyCookieJar(),
        headers={"Accept": "application/json", "User-Agent": f"shoal/{__version__}"},
        read_bufsize=_READ_BUFFER_BYTES,
    ) as session:
        yield KubeConnection(access, session)


def _unreachable(access: KubeAccess, exc: BaseException) -> KubeError:
    return KubeError(f"{access.server} cannot be reached: {str(exc) or type(exc).__name__}")


async def _read(response: aiohttp.ClientResponse, limit: int) -> bytes:
    parts: list[bytes] = []
    size = 0
    async for part in response.content.iter_any():
        size += len(part)
        if size > limit:
            raise KubeError(f"an answer of the API server is longer than {limit} bytes")
        parts.append(part)
    return b"".join(parts)


async def _lines(response: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
    """Yield non-empty lines; one that the connection's end cuts off is none."""
    rest: list[bytes] = []  # joined once its end is there: a slice takes several reads
    size = 0
    async for part in response.content.iter_any():
        *ends, tail = part.split(b"\n")
        for end in ends:
            line = b"".join((*rest, end))
            rest, size = [], 0
            if line:
                yield line
        rest.append(tail)
        size += len(tail)
        if size > MAX_EVENT_BYTES:
            raise KubeError(f"an event of a watch is longer than {MAX_EVENT_BYTES} bytes")


def _object(text: bytes) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as exc:
        raise KubeError(f"the API server sent what is not JSON: {exc}") from exc
    if not isinstance(value, dict):
        raise KubeError("the API server sent JSON that is no object")
    return value


async def _reason(response: aiohttp.ClientResponse) -> str:
    """Return the server's own words, if there are any: RBAC's name what is missing."""
    body = await response.content.read(_MAX_REASON_BYTES)
    try:
        message = json.loads(body)["message"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return response.reason or "no reason"
    return str(message)[:256]


def _retry_after_s(response: aiohttp.ClientResponse) -> float:
    # API servers send seconds, never a date (priority and fairness: "1").
    text = response.headers.get("Retry-After", "")
    return min(float(text), _MAX_RETRY_AFTER_S) if text.isascii() and text.isdigit() else 0.0
