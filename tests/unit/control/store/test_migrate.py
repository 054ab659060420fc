"""Migrations: applied once, in order, and to what the code expects."""

from pathlib import Path

import pytest
from sqlalchemy import inspect, text

from shoal.control.store.database import Database
from shoal.control.store.migrate import Migration, SchemaTooNew, migrate, migrations, version
from shoal.control.store.tables import METADATA
from shoal.control.store.vault import Vault
from unit.control.store.first_schema import assert_is_in_one_account, fill_first_schema


def test_the_migrated_schema_is_what_the_code_names(database: Database) -> None:
    with database.read() as connection:
        found = inspect(connection)
        assert set(found.get_table_names()) == {*METADATA.tables, "schema_version"}
        for name, table in METADATA.tables.items():
            columns = {column["name"]: column for column in found.get_columns(name)}
            assert set(columns) == set(table.columns.keys())
            assert found.get_pk_constraint(name)["constrained_columns"] is not None
            keys = {column.name for column in table.primary_key}
            assert set(found.get_pk_constraint(name)["constrained_columns"]) == keys
            for column in table.columns:
                if column.name not in keys:
                    assert columns[column.name]["nullable"] == column.nullable, (name, column.name)


def test_a_second_run_does_nothing(database: Database) -> None:
    assert migrate(database) == ()
    assert version(database) == len(migrations())


def test_a_step_that_fails_leaves_the_schema_as_it_was(database: Database) -> None:
    last = len(migrations())
    broken = Migration(last + 1, "broken", ("CREATE TABLE half (x BIGINT)", "NONSENSE"))
    with pytest.raises(Exception, match="NONSENSE"):
        migrate(database, [*migrations(), broken])
    assert version(database) == last
    with database.read() as connection:
        assert "half" not in inspect(connection).get_table_names()


def test_later_steps_find_the_rows_of_earlier_ones(database: Database) -> None:
    with database.write() as connection:
        connection.execute(text("INSERT INTO account VALUES ('1', 'a', TRUE, 5)"))
    step = Migration(
        len(migrations()) + 1, "more", ("ALTER TABLE account ADD COLUMN note VARCHAR",)
    )
    assert migrate(database, [*migrations(), step]) == (step,)
    with database.read() as connection:
        assert connection.execute(text("SELECT name, note FROM account")).all() == [("a", None)]


def test_a_database_of_a_newer_version_is_left_alone(database: Database) -> None:
    with pytest.raises(SchemaTooNew, match="newer Shoal"):
        migrate(database, [])


def test_statements_end_with_a_line_of_a_semicolon(tmp_path: Path) -> None:
    (tmp_path / "0001_a.sql").write_text("-- why\nSELECT 1\n;\nSELECT\n 2\n;\n")
    assert migrations(tmp_path) == (Migration(1, "a", ("SELECT 1", "SELECT\n 2")),)


def test_a_console_of_one_account_keeps_all_that_it_had(tmp_path: Path, vault: Vault) -> None:
    database = Database(f"sqlite:///{tmp_path}/old.db")
    migrate(database, migrations()[:1])
    with database.write() as connection:
        fill_first_schema(connection, vault)
    migrate(database)
    assert_is_in_one_account(database, vault)
    database.close()
