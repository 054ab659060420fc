"""Asks the agent where the bytes of a blob come from."""

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass

import aiohttp

from shoal.core.digest import Digest

_EVERY_S = 0.5
_TIMEOUT_S = 2.0
_MAX_ANSWER_BYTES = 4096


@dataclass(frozen=True, slots=True)
class Sources:
    """Where an agent's bytes of one blob came from so far."""

    origin_bytes: int = 0
    peer_bytes: int = 0
    cached_bytes: int = 0


class SourceLookup:
    """Looks now and then at the blobs that are being pulled. What fails is not shown, no more."""

    def __init__(self, agent_url: str, *, learned: Callable[[Digest, Sources], None]) -> None:
        """Ask `agent_url`; tell `learned` of what it says. Needs a running loop."""
        self._url = agent_url.rstrip("/")
        self._learned = learned
        self._wanted: dict[Digest, None] = {}
        self._session = aiohttp.ClientSession(
            timeout=aiohttp.ClientTimeout(total=_TIMEOUT_S),
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,
        )

    async def close(self) -> None:
        """Close the connection."""
        await self._session.close()

    def begin(self, digest: Digest) -> None:
        """From now on ask for `digest`."""
        self._wanted[digest] = None

    async def end(self, digest: Digest) -> None:
        """Ask for `digest` a last time: it is complete."""
        if self._wanted.pop(digest, 0) is None:
            await self._ask(digest)

    async def run(self) -> None:
        """Ask until cancelled."""
        while True:
            await asyncio.sleep(_EVERY_S)
            for digest in list(self._wanted):
                await self._ask(digest)

    async def _ask(self, digest: Digest) -> None:
        try:
            url = f"{self._url}/shoal/transfers/{digest}"
            async with self._session.get(url, allow_redirects=False) as answer:
                body = await answer.content.read(_MAX_ANSWER_BYTES) if answer.status == 200 else b""
            said = json.loads(body)
            counts = [said[f"{name}_bytes"] for name in ("origin", "peer", "cached")]
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError, KeyError, TypeError):
            return  # an agent of another version, or somebody else's proxy
        if all(isinstance(count, int) and count >= 0 for count in counts):
            self._learned(digest, Sources(*counts))
