"""What calls are signed with, and who keeps it fresh.

Everything of one process that asks the cloud shares one Refresher, so that the number of calls to
STS and to the metadata service does not grow with the number of users.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Protocol

from shoal.core.cloud.failures import CloudFailed

REFRESH_BEFORE_S = 900.0  # the cloud's own SDK refreshes as early
# A pair from files has no end, but its files may be replaced.
READ_AGAIN_S = 60.0
# How long what is nearly expired is used on, where new credentials cannot be had, before asking
# again; and how much of its life has to be left for that.
TRY_AGAIN_S = 30.0
STILL_GOOD_S = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """An access key, or a session's. `expires_at_s` is Unix time; None: it has no end."""

    key_id: str
    secret: str = field(repr=False)
    token: str = field(default="", repr=False)
    expires_at_s: float | None = None


class Source(Protocol):
    """Where credentials come from."""

    async def fetch(self) -> Credentials:
        """Return new credentials.

        Raises:
            CloudFailed: there are none, with what to do.
        """
        ...


def unix_now() -> float:
    """Return the time in seconds of Unix time, which is what expirations are given in."""
    return datetime.now(UTC).timestamp()


class Refresher:
    """Keeps credentials of one source, and replaces them before they expire."""

    def __init__(self, source: Source, *, clock: Callable[[], float] = unix_now) -> None:
        """Prepare; nothing is fetched yet.

        Args:
            source: where credentials come from.
            clock: the time in seconds of Unix time.
        """
        self._source = source
        self._clock = clock
        self._fetching = asyncio.Lock()
        self._current: Credentials | None = None
        self._renew_at_s = 0.0

    async def credentials(self) -> Credentials:
        """Return credentials that are good for a while yet.

        Users that come at the same time wait for one fetch. Where new ones cannot be had, the old
        ones are used until shortly before their end.

        Raises:
            CloudFailed: there are none, with what to do.
        """
        async with self._fetching:
            now_s = self._clock()
            if self._current is not None and now_s < self._renew_at_s:
                return self._current
            try:
                fresh = await self._source.fetch()
            except CloudFailed:
                if self._current is None or not _is_good(self._current, now_s):
                    self._current = None
                    raise
                self._renew_at_s = now_s + TRY_AGAIN_S
                return self._current
            self._current = fresh
            self._renew_at_s = _renew_at_s(fresh, now_s)
            return fresh

    def forget(self, refused: Credentials) -> None:
        """Fetch anew next time, since the cloud refuses these; unless that was done already."""
        if self._current is refused:
            self._current = None


def _renew_at_s(credentials: Credentials, now_s: float) -> float:
    if credentials.expires_at_s is None:
        return now_s + READ_AGAIN_S
    life_s = credentials.expires_at_s - now_s
    return credentials.expires_at_s - min(REFRESH_BEFORE_S, life_s / 4)


def _is_good(credentials: Credentials, now_s: float) -> bool:
    return credentials.expires_at_s is None or now_s < credentials.expires_at_s - STILL_GOOD_S
