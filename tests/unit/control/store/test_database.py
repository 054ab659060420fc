"""Opening, reading and writing the database."""

import contextlib
import threading

import pytest
from sqlalchemy import text

from shoal.control.store.database import Database, DatabaseUnreachable
from shoal.core.errors import SettingsError


def test_a_write_that_fails_leaves_nothing(database: Database) -> None:
    insert = text("INSERT INTO account VALUES ('1', 'a', FALSE, 0)")
    with contextlib.suppress(ZeroDivisionError), database.write() as connection:
        connection.execute(insert)
        raise ZeroDivisionError
    with database.read() as connection:
        assert connection.execute(text("SELECT count(*) FROM account")).scalar() == 0


def test_writers_from_several_threads_take_turns(database: Database) -> None:
    def add(prefix: str) -> None:
        for number in range(20):
            with database.write() as connection:
                connection.execute(
                    text("INSERT INTO account VALUES (:name, :name, FALSE, 0)"),
                    {"name": f"{prefix}{number}"},
                )

    threads = [threading.Thread(target=add, args=(name,)) for name in "abc"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with database.read() as connection:
        assert connection.execute(text("SELECT count(*) FROM account")).scalar() == 60


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("mysql://localhost/x", "not mysql"),
        ("nonsense", "not a database URL"),
        ("sqlite://", "name a file"),
    ],
)
def test_other_databases_are_refused(url: str, why: str) -> None:
    with pytest.raises(SettingsError, match=why):
        Database(url)


def test_a_password_in_the_url_is_not_shown() -> None:
    database = Database("postgresql://shoal:secret@127.0.0.1:1/shoal")
    assert "secret" not in database.shown
    with pytest.raises(DatabaseUnreachable) as error, database.read():
        pass
    assert "secret" not in str(error.value)
    database.close()


def test_a_folder_that_does_not_exist_is_told() -> None:
    database = Database("sqlite:////nowhere/at/all.db")
    with pytest.raises(DatabaseUnreachable, match="cannot open"), database.read():
        pass
    database.close()
