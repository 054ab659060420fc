"""Brings a database to the newest schema by numbered SQL files, each in a transaction of its own.

Files only ever get added: one that was released is never edited. The same plain statements serve
SQLite and PostgreSQL, so there is nothing here for a framework to generate.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection, text

from shoal.control.store.database import Database
from shoal.core.errors import ShoalError

FOLDER = Path(__file__).parent / "migrations"
_VERSIONS = text("CREATE TABLE IF NOT EXISTS schema_version (number BIGINT PRIMARY KEY)")


class SchemaTooNew(ShoalError):
    """A newer Shoal has used this database: an older one would write what that cannot read."""


@dataclass(frozen=True, slots=True)
class Migration:
    """One step: its number, its name and its statements."""

    number: int
    name: str
    statements: tuple[str, ...]


def migrations(folder: Path = FOLDER) -> tuple[Migration, ...]:
    """Return all steps in order; their numbers are 1, 2, 3 and so on."""
    found = tuple(_read(folder))
    assert [step.number for step in found] == list(range(1, len(found) + 1)), found  # noqa: S101 # a mistake of ours
    return found


def _read(folder: Path) -> Iterator[Migration]:
    for path in sorted(folder.glob("*.sql")):
        number, _, name = path.stem.partition("_")
        statements: list[str] = []
        lines: list[str] = []
        for line in path.read_text(encoding="utf-8").splitlines():
            if line.strip() == ";":
                statements.append("\n".join(lines))
                lines = []
            elif not line.startswith("--"):
                lines.append(line)
        yield Migration(int(number), name, tuple(statements))


def version(database: Database) -> int:
    """Return the number of the last step that was applied; 0 for an empty database."""
    with database.write() as connection:
        connection.execute(_VERSIONS)
        newest = text("SELECT coalesce(max(number), 0) FROM schema_version")
        return int(connection.execute(newest).scalar() or 0)


def migrate(database: Database, steps: Sequence[Migration] | None = None) -> tuple[Migration, ...]:
    """Apply the steps that are still to do; return them.

    Raises:
        SchemaTooNew: The database has steps that this version of Shoal does not know.
    """
    known = migrations() if steps is None else tuple(steps)
    done = version(database)
    if done > len(known):
        raise SchemaTooNew(
            f"{database.shown} has schema {done} and this Shoal knows {len(known)}: a newer "
            "Shoal has used it. Run that version, or restore a backup of the older one"
        )
    todo = known[done:]
    for step in todo:
        with database.write() as connection:
            apply(connection, step)
    return todo


def apply(connection: Connection, step: Migration) -> None:
    """Apply one step to a database that has the ones before it."""
    connection.execute(_VERSIONS)
    for statement in step.statements:
        connection.execute(text(statement))
    connection.execute(
        text("INSERT INTO schema_version (number) VALUES (:number)"), {"number": step.number}
    )
