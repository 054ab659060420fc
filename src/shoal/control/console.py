"""What the pages and the API share: one database, one vault, one clock."""

import asyncio
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import TypeVar, cast

from sqlalchemy import Connection

from shoal.control.store.changes import Author, Change, Changes
from shoal.control.store.database import Database
from shoal.control.store.vault import Vault
from shoal.core.console.refusals import Kind, Refusals

T = TypeVar("T")


@dataclass(slots=True)
class Console:
    """The console's state. Statements run in worker threads: none blocks the event loop.

    `setup_code` is what the first administrator has to enter: it is shown only where the console
    was started, so that nobody else on the network can be first.
    """

    database: Database
    vault: Vault
    setup_code: str
    secure: bool = False  # whether people reach it by HTTPS, as through a proxy
    changes: Changes = field(init=False)
    _refusals: Refusals = field(init=False, default_factory=Refusals)

    def __post_init__(self) -> None:
        self.changes = Changes(self.database)

    @property
    def now_s(self) -> int:
        """The time, in seconds of Unix time."""
        return self.changes.clock()

    async def read(self, work: Callable[[Connection], T]) -> T:
        """Return what `work` reads."""
        return await asyncio.to_thread(self._read, work)

    async def known(self, key: Hashable, work: Callable[[Connection], T]) -> T:
        """Return what `work` reads, from memory if nothing was changed since it was last read.

        Args:
            key: What is read; the same key always for the same work.
            work: Reads it. What it raises is not remembered.
        """
        remembered = self.changes.recollection
        if (found := remembered.find(key)) is not None:
            return cast("T", found[0])
        version = remembered.version
        value = await self.read(work)
        remembered.keep(key, value, version=version)
        return value

    async def change(self, author: Author, work: Callable[[Change], T]) -> T:
        """Return what `work` returns, once its change is committed."""
        return await asyncio.to_thread(self._change, author, work)

    async def denied(self, author: Author, *, action: str, resource: str, reason: str) -> None:
        """Record that `author` was refused something; of many that are alike, how many."""
        now_s = self.now_s
        for kind, count in self._refusals.ended(now_s=now_s):
            more = f"{count} more like this were refused in the minute after"
            await asyncio.to_thread(
                self.changes.denied,
                Author(kind.actor, kind.source, author.request_id),
                action=kind.action,
                resource="",
                reason=more,
            )
        if self._refusals.is_recorded(Kind(author.name, author.source, action), now_s=now_s):
            await asyncio.to_thread(
                self.changes.denied, author, action=action, resource=resource, reason=reason
            )

    def _read(self, work: Callable[[Connection], T]) -> T:
        with self.database.read() as connection:
            return work(connection)

    def _change(self, author: Author, work: Callable[[Change], T]) -> T:
        with self.changes.by(author) as change:
            return work(change)
