"""One database, SQLite or PostgreSQL: how it is opened, read and written."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Connection, create_engine, event, text
from sqlalchemy.engine import URL, Engine, make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, OperationalError
from sqlalchemy.pool import ConnectionPoolEntry

from shoal.core.errors import SettingsError, ShoalError

if TYPE_CHECKING:
    import sqlite3

BUSY_TIMEOUT_S = 5
POOL_SIZE = 8  # connections; more would only wait for each other's locks on SQLite
# Two consoles on one PostgreSQL take turns with writes. Any fixed number does.
_ADVISORY_LOCK = 0x5348_4F41_4C


class DatabaseUnreachable(ShoalError):
    """The database could not be opened, or did not answer."""

    exit_code = 69
    retryable = True


class Database:
    """Transactions on the console's database; safe for use from several threads."""

    def __init__(self, url: str) -> None:
        """Prepare for the database at `url`; nothing is opened yet.

        Raises:
            SettingsError: Not a URL of SQLite or PostgreSQL, or its driver is not installed.
        """
        parsed = _parse(url)
        self.is_sqlite = parsed.get_backend_name() == "sqlite"
        self.shown = parsed.render_as_string(hide_password=True)
        self.path = Path(parsed.database or "") if self.is_sqlite else None
        self._writing = threading.Lock()
        try:
            self._engine = create_engine(
                parsed,
                pool_size=POOL_SIZE,
                pool_pre_ping=not self.is_sqlite,
                connect_args=(
                    {"timeout": BUSY_TIMEOUT_S, "check_same_thread": False}
                    if self.is_sqlite
                    else {"connect_timeout": BUSY_TIMEOUT_S}
                ),
            )
        except ModuleNotFoundError as missing:
            raise SettingsError(
                f"{missing.name} is not installed: pip install 'shoal[postgresql]'"
            ) from missing
        if self.is_sqlite:
            _prepare_sqlite(self._engine)

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Run statements that only read, all on one state of the database."""
        with self._connected() as connection, connection.begin():
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """Run statements that all happen, or none of them; one writer at a time."""
        with (
            self._writing,
            self._connected() as plain,
            plain.execution_options(shoal_write=True) as connection,
            connection.begin(),
        ):
            if not self.is_sqlite:
                connection.execute(
                    text("SELECT pg_advisory_xact_lock(:key)"), {"key": _ADVISORY_LOCK}
                )
            yield connection

    def close(self) -> None:
        """Close every connection."""
        self._engine.dispose()

    @contextmanager
    def _connected(self) -> Iterator[Connection]:
        try:
            connection = self._engine.connect()
        except OperationalError as error:
            raise DatabaseUnreachable(
                f"cannot open {self.shown}: {error.orig}. Does it run, and may this user use it?"
            ) from error
        with connection:
            yield connection


def _parse(url: str) -> URL:
    try:
        parsed = make_url(url)
        if parsed.drivername in ("postgresql", "postgres"):
            parsed = parsed.set(drivername="postgresql+psycopg")
        backend = parsed.get_backend_name()
    except (ArgumentError, NoSuchModuleError) as error:
        raise SettingsError(f"not a database URL: {error}") from error
    if backend not in ("sqlite", "postgresql"):
        raise SettingsError(f"the console takes sqlite:/// and postgresql:// URLs, not {backend}")
    if backend == "sqlite" and parsed.database in (None, "", ":memory:"):
        raise SettingsError("name a file: sqlite:////var/lib/shoal/console.db")
    return parsed


def _prepare_sqlite(engine: Engine) -> None:
    @event.listens_for(engine, "connect")
    def _connected(connection: object, entry: ConnectionPoolEntry) -> None:
        del entry
        raw: sqlite3.Connection = connection  # type: ignore[assignment] # what the driver gives
        # Transactions begin where we say so below, and not where the driver guesses.
        raw.isolation_level = None
        for pragma in ("foreign_keys=ON", "journal_mode=WAL", "synchronous=NORMAL"):
            raw.execute(f"PRAGMA {pragma}").close()

    @event.listens_for(engine, "begin")
    def _begun(connection: Connection) -> None:
        writes = connection.get_execution_options().get("shoal_write")
        # A transaction that reads first and writes later can fail half-way: take the lock at once.
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
