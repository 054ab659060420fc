"""Every change is a transaction with a name, an author and a line in the audit trail."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime

from sqlalchemy import Connection, delete, func, insert, select

from shoal.control.store.database import Database
from shoal.control.store.recollection import (
    ALONE_MAX_AGE_S,
    SHARED_MAX_AGE_S,
    Recollection,
)
from shoal.control.store.records import from_row, to_row
from shoal.control.store.tables import AUDIT
from shoal.core.console.models import AuditEvent

# Denied calls are recorded too, and anybody can make those: the trail has to have an end.
KEEP_EVENTS = 100_000
_TRIM_EVERY = 1_000
_DETAIL_CHARS = 1_000


def unix_now() -> int:
    """Return the time in whole seconds of Unix time."""
    return int(datetime.now(UTC).timestamp())


@dataclass(frozen=True, slots=True)
class Author:
    """Who asks for something: a name such as `admin` or an ARN, an address, and the request."""

    name: str
    source: str
    request_id: str


@dataclass(slots=True)
class Change:
    """A transaction under way."""

    connection: Connection
    author: Author
    now_s: int
    recorded: int = field(default=0)
    matters: bool = field(default=False)

    def record(self, action: str, resource: str, detail: str = "") -> None:
        """Add what was changed to the audit trail. `detail` must hold no secret."""
        _append(self.connection, self.author, self.now_s, action, resource, detail, allowed=True)
        self.recorded += 1
        self.matters = True

    def is_routine(self) -> None:
        """Say that this change needs no line in the audit trail, as the use of a session.

        Nothing that calls depend on may be changed so: what was read before is still used.
        """
        self.recorded += 1


class Unrecorded(AssertionError):
    """A change left nothing in the audit trail: a mistake in the code, and it is rolled back."""


@dataclass(slots=True)
class Changes:
    """Makes changes to one database."""

    database: Database
    clock: Callable[[], int] = unix_now
    recollection: Recollection = field(init=False)

    def __post_init__(self) -> None:
        alone = self.database.is_sqlite
        self.recollection = Recollection(max_age_s=ALONE_MAX_AGE_S if alone else SHARED_MAX_AGE_S)

    @contextmanager
    def by(self, author: Author) -> Iterator[Change]:
        """Open a change; it is committed at the end, and rolled back by any exception.

        Raises:
            Unrecorded: Nothing was recorded.
        """
        with self.database.write() as connection:
            change = Change(connection, author, self.clock())
            yield change
            if not change.recorded:
                raise Unrecorded
        if change.matters:
            self.recollection.changed()

    def denied(self, author: Author, *, action: str, resource: str, reason: str) -> None:
        """Record that `author` was refused something."""
        with self.database.write() as connection:
            _append(connection, author, self.clock(), action, resource, reason, allowed=False)


def events(
    connection: Connection,
    *,
    before_id: int | None = None,
    limit: int = 100,
    only_denied: bool = False,
    resource: str = "",
) -> list[AuditEvent]:
    """Return events, the newest first."""
    query = select(AUDIT).order_by(AUDIT.c.id.desc()).limit(limit)
    if before_id is not None:
        query = query.where(AUDIT.c.id < before_id)
    if only_denied:
        query = query.where(AUDIT.c.allowed.is_(False))
    if resource:
        query = query.where(AUDIT.c.resource == resource)
    return [from_row(AuditEvent, row) for row in connection.execute(query)]


def _append(
    connection: Connection,
    author: Author,
    now_s: int,
    action: str,
    resource: str,
    detail: str,
    *,
    allowed: bool,
) -> None:
    last = connection.execute(select(func.coalesce(func.max(AUDIT.c.id), 0))).scalar_one()
    number = int(last) + 1
    event = AuditEvent(
        id=number,
        at=now_s,
        actor=author.name,
        source=author.source,
        action=action,
        resource=resource[:_DETAIL_CHARS],
        allowed=allowed,
        detail=detail[:_DETAIL_CHARS],
        request_id=author.request_id,
    )
    connection.execute(insert(AUDIT).values(to_row(event)))
    if number % _TRIM_EVERY == 0:
        connection.execute(delete(AUDIT).where(AUDIT.c.id <= number - KEEP_EVENTS))
