"""Backups: whole, readable by their owner alone, and restored all or nothing."""

import json
from pathlib import Path

import pytest
from sqlalchemy import MetaData, select

from shoal.control.store import access, accounts, administrators
from shoal.control.store.backup import NotEmpty, backup, restore
from shoal.control.store.changes import Author, Changes, events
from shoal.control.store.database import Database
from shoal.control.store.migrate import migrate, migrations, version
from shoal.control.store.vault import Vault
from shoal.core.errors import BadInput
from unit.control.store.first_schema import assert_is_in_one_account, fill_first_schema


@pytest.fixture
def secret(changes: Changes, author: Author, vault: Vault) -> tuple[str, str]:
    with changes.by(author) as change:
        administrators.first_administrator(change, "admin", hash_="h")
        administrators.sign_in(change, "admin")
        account = accounts.management(change.connection).id
        access.create_user(change, account, "p2p", comment="")
        key, value = access.create_key(change, vault, account, "p2p")
        access.set_key_active(change, account, "p2p", key.id, active=False)
    return key.id, value


def test_what_was_backed_up_comes_back_without_sessions(
    secret: tuple[str, str], database: Database, vault: Vault, tmp_path: Path
) -> None:
    file = tmp_path / "console.backup"
    assert backup(database, file) > 4
    assert file.stat().st_mode & 0o777 == 0o600
    assert secret[1] not in file.read_text()
    other = Database(f"sqlite:///{tmp_path}/other.db")
    restore(other, file)
    with database.read() as before, other.read() as after:
        assert events(after) == events(before)
        key, value = access.find_key(after, vault, secret[0])
        assert (value, key.active) == (secret[1], False)
        assert administrators.open_sessions(after, "admin") == 0
    other.close()


def test_a_console_in_use_is_overwritten_only_when_told(
    secret: tuple[str, str], database: Database, tmp_path: Path
) -> None:
    del secret
    file = tmp_path / "console.backup"
    rows = backup(database, file)
    with pytest.raises(NotEmpty, match="--replace"):
        restore(database, file)
    assert restore(database, file, replace=True) == rows


@pytest.mark.parametrize(
    "text",
    [
        "",
        "not json\n",
        '{"format": "else", "schema": 1}\n',
        '{"format": "shoal-console-backup", "schema": 99}\n',
        '{"format": "shoal-console-backup", "schema": 1}\n{"table": "what", "row": {}}\n',
        '{"format": "shoal-console-backup", "schema": 1}\n{"table": "audit", "row": {"id": 1}}\n',
        '{"format": "shoal-console-backup", "schema": 1}\n[1]\n',
    ],
)
def test_what_is_no_backup_changes_nothing(
    text: str, secret: tuple[str, str], database: Database, tmp_path: Path
) -> None:
    del secret
    file = tmp_path / "bad"
    file.write_text(text)
    with pytest.raises(BadInput):
        restore(database, file, replace=True)
    with database.read() as connection:
        assert administrators.names(connection) == ["admin"]


def test_rows_that_refer_to_nothing_are_refused(database: Database, tmp_path: Path) -> None:
    file = tmp_path / "bad"
    head = json.dumps({"format": "shoal-console-backup", "schema": 1})
    row = {"id": "k", "user_name": "gone", "sealed_secret": "", "active": 1, "created_at": 1}
    file.write_text(f"{head}\n{json.dumps({'table': 'access_key', 'row': row})}\n")
    with pytest.raises(BadInput):
        restore(database, file)


def test_a_file_that_cannot_be_written_or_read_is_told(database: Database, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="cannot write"):
        backup(database, tmp_path / "no" / "folder")
    with pytest.raises(BadInput, match="cannot read"):
        restore(database, tmp_path / "missing")


def test_a_backup_of_an_older_schema_is_brought_to_todays(
    secret: tuple[str, str], database: Database, vault: Vault, tmp_path: Path
) -> None:
    del secret
    old, file = Database(f"sqlite:///{tmp_path}/old.db"), tmp_path / "old.backup"
    migrate(old, migrations()[:1])
    with old.write() as connection:
        fill_first_schema(connection, vault)
    _write_as_then(old, file)
    old.close()
    for target in (Database(f"sqlite:///{tmp_path}/new.db"), database):
        assert restore(target, file, replace=target is database) > 10
        assert version(target) == len(migrations())
        assert_is_in_one_account(target, vault)
        target.close()


def _write_as_then(old: Database, file: Path) -> None:
    """Write a backup of the first schema, in the format that has stayed the same."""
    lines: list[object] = [{"format": "shoal-console-backup", "schema": 1}]
    with old.read() as connection:
        tables = MetaData()
        tables.reflect(connection)
        for table in tables.sorted_tables:
            if table.name not in ("schema_version", "web_session"):
                lines += [
                    {"table": table.name, "row": dict(row._mapping)}
                    for row in connection.execute(select(table))
                ]
    file.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
