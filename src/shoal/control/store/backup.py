"""One file that holds everything the console knows, and the way back.

The file is JSON lines, so that a backup of SQLite can be restored into PostgreSQL and the other
way round, and so that anybody can read what is in it. Secrets stay sealed: the key file is backed
up beside it, or they are lost.
"""

import json
import os
from pathlib import Path

from sqlalchemy import Connection, MetaData, insert, select
from sqlalchemy.exc import DBAPIError, StatementError

from shoal.control.store.database import Database
from shoal.control.store.migrate import apply, migrations, version
from shoal.control.store.tables import ADMINISTRATOR, METADATA, WEB_SESSION
from shoal.core.errors import BadInput, ShoalError

FORMAT = "shoal-console-backup"
# Sessions are not kept: a restored console asks everyone to sign in.
_TABLES = [table for table in METADATA.tables.values() if table is not WEB_SESSION]


class NotEmpty(ShoalError):
    """The database to restore into holds something: only `replace` may overwrite it."""


def backup(database: Database, path: Path) -> int:
    """Write all rows to `path`, a file of mode 0600 that is whole or not there; return how many.

    Raises:
        BadInput: The file cannot be written, or the database was never a console's.
    """
    schema = version(database)
    if not schema:
        raise BadInput(f"{database.shown} holds no console: is this the right database?")
    lines = [json.dumps({"format": FORMAT, "schema": schema})]
    with database.read() as connection:
        for table in _TABLES:
            lines.extend(
                json.dumps({"table": table.name, "row": dict(row._mapping)})
                for row in connection.execute(select(table))
            )
    part = path.with_name(f"{path.name}.part")
    try:
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write("\n".join(lines) + "\n")
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except OSError as error:
        raise BadInput(f"cannot write {path}: {error.strerror}") from error
    return len(lines) - 1


def restore(database: Database, path: Path, *, replace: bool = False) -> int:
    """Fill the database from a backup, all or nothing; return how many rows there are.

    The rows go into tables as they were when the backup was written, and are then brought to
    today's by the same steps as a database in use.

    Raises:
        BadInput: Not a backup, damaged, or of a newer Shoal.
        NotEmpty: The database holds something, and `replace` is not set.
    """
    schema, rows = _read(path)
    steps = migrations()
    with database.write() as connection:
        there = _reflected(connection)
        if _is_in_use(connection, there) and not replace:
            raise NotEmpty(f"{database.shown} is in use: --replace overwrites what it holds")
        there.drop_all(connection)
        for step in steps[:schema]:
            apply(connection, step)
        tables = _reflected(connection).tables
        for name, row in rows:
            if name not in tables or set(row) != set(tables[name].columns.keys()):
                raise BadInput(f"{path}: schema {schema} has no table {name} of those columns")
            try:
                connection.execute(insert(tables[name]).values(row))
            except (DBAPIError, StatementError) as error:
                raise BadInput(f"{path}: a row of {name} cannot be taken: {error.orig}") from error
        for step in steps[schema:]:
            apply(connection, step)
    return len(rows)


def _reflected(connection: Connection) -> MetaData:
    found = MetaData()
    found.reflect(connection)
    return found


def _is_in_use(connection: Connection, there: MetaData) -> bool:
    people = there.tables.get(ADMINISTRATOR.name)
    return people is not None and connection.execute(select(people)).first() is not None


def _read(path: Path) -> tuple[int, list[tuple[str, dict[str, object]]]]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"cannot read {path}: {error}") from error
    try:
        head = json.loads(lines[0])
        if head["format"] != FORMAT:
            raise KeyError(head["format"])
        schema = int(head["schema"])
        rows = [(entry["table"], entry["row"]) for entry in map(json.loads, lines[1:])]
    except (IndexError, KeyError, TypeError, ValueError) as error:
        raise BadInput(f"{path} is not a backup of the console, or is damaged") from error
    if schema > len(migrations()):
        raise BadInput(f"{path} was written by a newer Shoal (schema {schema})")
    return schema, rows
