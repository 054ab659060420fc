"""A served console where all steps of the documentation's page were done."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from shoal.control import passwords
from shoal.control.store.database import Database
from shoal.control.store.migrate import migrate
from shoal.control.store.vault import KEY_BYTES, Vault
from unit.adapters.cloud.page import Page, serve_page


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
async def page(database: Database, tmp_path: Path) -> AsyncIterator[Page]:
    """Return a console, a metadata service and a pod's files, all as they should be."""
    async with serve_page(database, Vault(bytes(KEY_BYTES)), tmp_path) as made:
        yield made
