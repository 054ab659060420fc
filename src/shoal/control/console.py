"""What the pages and the API share: one database, one vault, one clock."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from sqlalchemy import Connection

from shoal.control.store.changes import Author, Change, Changes
from shoal.control.store.database import Database
from shoal.control.store.vault import Vault

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

    def __post_init__(self) -> None:
        self.changes = Changes(self.database)

    @property
    def now_s(self) -> int:
        """The time, in seconds of Unix time."""
        return self.changes.clock()

    async def read(self, work: Callable[[Connection], T]) -> T:
        """Return what `work` reads."""
        return await asyncio.to_thread(self._read, work)

    async def change(self, author: Author, work: Callable[[Change], T]) -> T:
        """Return what `work` returns, once its change is committed."""
        return await asyncio.to_thread(self._change, author, work)

    async def denied(self, author: Author, *, action: str, resource: str, reason: str) -> None:
        """Record that `author` was refused something."""
        await asyncio.to_thread(
            self.changes.denied, author, action=action, resource=resource, reason=reason
        )

    def _read(self, work: Callable[[Connection], T]) -> T:
        with self.database.read() as connection:
            return work(connection)

    def _change(self, author: Author, work: Callable[[Change], T]) -> T:
        with self.changes.by(author) as change:
            return work(change)
