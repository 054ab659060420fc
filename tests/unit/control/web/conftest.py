"""A console with its pages on a free port, and somebody who is signed in."""

from collections.abc import AsyncIterator

import pytest
from aiohttp import CookieJar
from aiohttp.test_utils import TestClient, TestServer

from shoal.control.app import build
from shoal.control.console import Console
from shoal.control.store.changes import Author, Changes
from shoal.control.store.database import Database
from shoal.control.store.vault import Vault
from unit.control.web.person import SETUP_CODE, Browser


@pytest.fixture
def console(database: Database, vault: Vault, changes: Changes) -> Console:
    """Return a console on the test's database, at a time that stands still."""
    made = Console(database, vault, SETUP_CODE)
    made.changes = changes
    return made


@pytest.fixture
async def stranger(console: Console) -> AsyncIterator[Browser]:
    """Return somebody who is not signed in, at a new console."""
    async with TestClient(TestServer(build(console)), cookie_jar=CookieJar(unsafe=True)) as client:
        yield Browser(client, console)


@pytest.fixture
async def browser(stranger: Browser) -> Browser:
    """Return an administrator, signed in."""
    await stranger.set_up()
    return stranger


@pytest.fixture
def author() -> Author:
    """Return who acts beside the pages, as a cluster's Job does."""
    return Author("job", "10.0.0.1", "R-2")
