"""The served console, for every test of the API."""

from collections.abc import AsyncIterator

import pytest

from shoal.control.store.database import Database
from shoal.control.store.vault import Vault
from unit.control.api.served_cloud import Cloud, serve_cloud


@pytest.fixture
async def cloud(database: Database, vault: Vault) -> AsyncIterator[Cloud]:
    """Return a console that is served on loopback."""
    async with serve_cloud(database, vault) as made:
        yield made
