"""What the console's tests share: a database in a folder of its own, and cheap passwords."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from shoal.control import passwords
from shoal.control.store.changes import Author, Changes
from shoal.control.store.database import Database
from shoal.control.store.migrate import migrate
from shoal.control.store.vault import KEY_BYTES, Vault

NOW_S = 1_800_000_000


@pytest.fixture(autouse=True)
def cheap_passwords(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hash at a cost that only a test may choose."""
    monkeypatch.setattr(passwords, "LOG2_N", 4)
    monkeypatch.setattr(passwords, "P", 1)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    """Return a new database with today's schema."""
    opened = Database(f"sqlite:///{tmp_path}/console.db")
    migrate(opened)
    yield opened
    opened.close()


@pytest.fixture
def changes(database: Database) -> Changes:
    """Return the way to change `database`, at a time that stands still."""
    return Changes(database, clock=lambda: NOW_S)


@pytest.fixture
def author() -> Author:
    """Return somebody who changes things."""
    return Author("admin", "127.0.0.1", "R-1")


@pytest.fixture
def vault() -> Vault:
    """Return a vault with a key that everybody knows."""
    return Vault(bytes(KEY_BYTES))
