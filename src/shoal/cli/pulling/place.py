"""A place to pull from: the agent's front, or the registry itself. Both speak the same API."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from urllib.parse import quote, urlsplit

from shoal.adapters.origin.auth import Authenticator
from shoal.adapters.origin.client import OriginAnswer, OriginClient, OriginStream
from shoal.adapters.origin.config import RegistryConfig
from shoal.adapters.origin.connections import retry_after_s
from shoal.adapters.origin.docker_config import Credentials
from shoal.cli.pulling.failures import NotFound
from shoal.core.errors import OriginDenied, OriginError
from shoal.core.oci.challenges import pull_scope
from shoal.core.reference import Reference

# Asked for only if a registry wants to know who is asking: reading them may fail.
FindCredentials = Callable[[], Credentials | None]


class Place:
    """Asks one address for one image's repository, and proves who is asking if need be."""

    def __init__(
        self,
        reference: Reference,
        *,
        client: OriginClient,
        config: RegistryConfig,
        realms: "Place | None" = None,
        find_credentials: FindCredentials,
        patience_s: float = 0.0,
    ) -> None:
        """Prepare; nothing is asked yet.

        Args:
            reference: the image.
            client: knows `config`.
            config: the address.
            realms: the registry itself, if this is an agent that stands for it. Its token realm is
                asked by the registry's rules then: an agent is plain HTTP, a realm must not be.
            find_credentials: for the registry.
            patience_s: for how long to go on where nothing answers at all: it may be starting.
        """
        self.patience_s = patience_s
        self.is_agent = realms is not None
        self.name = f"agent {config.url}" if self.is_agent else config.name
        self.url = config.url
        self._reference = reference
        self._client = client
        self._config = config
        self._realms = realms
        self._find_credentials = find_credentials
        self._authenticator: Authenticator | None = None
        self._scope = pull_scope(reference.repository)
        # As containerd spells it: a port's colon is percent-encoded.
        self._query = f"?ns={quote(reference.registry, safe='')}" if self.is_agent else ""

    async def ask(self, method: str, path: str, *, headers: Mapping[str, str]) -> OriginAnswer:
        """Ask for something small below the repository, such as `manifests/latest`.

        Returns:
            A 2xx answer.

        Raises:
            NotFound, OriginDenied, OriginError: any other answer, or none.
        """
        url = self._path(path)
        what = f"{method} {path}"
        sent = self._authorized(headers)
        answer = await self._client.ask(self._config, method, url, headers=sent)
        if answer.status == 401:
            challenges = answer.headers.getall("WWW-Authenticate", [])
            sent = await self._proven(challenges, sent)
            answer = await self._client.ask(self._config, method, url, headers=sent)
        self._raise_for(answer.status, what=what, retry_after_s=answer.retry_after_s)
        return answer

    @asynccontextmanager
    async def stream(self, path: str, *, headers: Mapping[str, str]) -> AsyncIterator[OriginStream]:
        """Open a GET below the repository; else as `ask`.

        Raises:
            NotFound, OriginDenied, OriginError: on entry, and while iterating the chunks.
        """
        url = self._path(path)
        what = f"GET {path}"
        sent = self._authorized(headers)
        async with self._client.stream(self._config, url, headers=sent) as first:
            if first.status != 401:
                self._raise_for(first.status, what=what, retry_after_s=retry_after_s(first.headers))
                yield first
                return
            challenges = first.headers.getall("WWW-Authenticate", [])
        sent = await self._proven(challenges, sent)
        async with self._client.stream(self._config, url, headers=sent) as second:
            self._raise_for(second.status, what=what, retry_after_s=retry_after_s(second.headers))
            yield second

    def _path(self, path: str) -> str:
        return f"/v2/{self._reference.repository}/{path}{self._query}"

    def _authorized(self, headers: Mapping[str, str]) -> dict[str, str]:
        known = None
        if self._authenticator is not None:
            known = self._authenticator.header_for(self._scope)
        return {**headers, "Authorization": known} if known is not None else dict(headers)

    async def _proven(self, challenges: list[str], sent: dict[str, str]) -> dict[str, str]:
        if self._authenticator is None:
            self._authenticator = Authenticator(self._find_credentials(), ask_realm=self._ask_realm)
        refused = sent.get("Authorization")
        try:
            header = await self._authenticator.answer(
                challenges, scope=self._scope, refused=refused
            )
        except OriginDenied as exc:
            raise self._denied(str(exc), status=401) from exc
        return {**sent, "Authorization": header}

    def _raise_for(self, status: int, *, what: str, retry_after_s: float | None = None) -> None:
        if status < 300:
            return
        message = f"{self.name}: {what}: answered {status}"
        if status == 404:
            raise NotFound(message)
        if status in (401, 403):
            raise self._denied(message, status=status)
        raise OriginError(message, status=status, retry_after_s=retry_after_s)

    def _denied(self, message: str, *, status: int) -> OriginDenied:
        return OriginDenied(
            f"{message}; to read {self._reference}, log in with `docker login "
            f"{self._reference.registry}`, or name a file with --creds-file",
            status=status,
        )

    async def _ask_realm(
        self, method: str, url: str, *, headers: Mapping[str, str], body: bytes | None = None
    ) -> OriginAnswer:
        # The agent may relay tokens itself, and is then its own realm.
        if self._realms is not None and urlsplit(url).netloc != urlsplit(self.url).netloc:
            return await self._realms._ask_realm(method, url, headers=headers, body=body)
        return await self._client.ask_realm(self._config, method, url, headers=headers, body=body)


MAX_TRIES = 3  # without progress, as containerd does
_PAUSES_S = (0.2, 1.0)  # before the second try, and before each further one
_LONGEST_PAUSE_S = 10.0


def may_pass(error: OriginError) -> bool:
    """Tell whether the same request may succeed in a moment."""
    return error.retryable and (
        error.status is None or error.status in (408, 416, 429) or error.status >= 500
    )


class Retries:
    """Counts failures in a row at one place, and waits before the next try where there is one."""

    def __init__(self, place: Place) -> None:
        self._patience_s = place.patience_s
        self._failures = 0
        self._failing_since_s = 0.0

    async def again(self, error: OriginError, *, progressed: bool = False) -> bool:
        """Return whether to try once more, having waited: as long as the server asks, within 10 s.

        Three tries, and as many as there is time for while nothing answers a patient place. One
        that `progressed` before it failed does not count.
        """
        now_s = asyncio.get_running_loop().time()
        self._failures = 0 if progressed else self._failures + 1
        if self._failures <= 1:
            self._failing_since_s = now_s
        is_late = now_s - self._failing_since_s >= self._patience_s
        if not may_pass(error) or (
            self._failures >= MAX_TRIES and (is_late or error.status is not None)
        ):
            return False
        pause_s = _PAUSES_S[min(max(self._failures, 1), len(_PAUSES_S)) - 1]
        await asyncio.sleep(min(max(error.retry_after_s or 0.0, pause_s), _LONGEST_PAUSE_S))
        return True
