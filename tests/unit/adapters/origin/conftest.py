"""A registry with one blob in it, and a client that does not wait long."""

from collections.abc import AsyncIterator

import pytest

from shoal.adapters.origin.client import OriginClient
from shoal.testing.registry import EmbeddedRegistry
from unit.adapters.origin.asking import BLOB, SHORT


@pytest.fixture
async def registry() -> AsyncIterator[EmbeddedRegistry]:
    async with EmbeddedRegistry() as registry:
        registry.add_blob(BLOB, repository="team/app")
        yield registry


@pytest.fixture
async def client(registry: EmbeddedRegistry) -> AsyncIterator[OriginClient]:
    async with OriginClient([registry.config()]) as client:
        yield client


@pytest.fixture
async def hasty_client(registry: EmbeddedRegistry) -> AsyncIterator[OriginClient]:
    """For tests in which the client gives up: the others have to pass on a busy machine too."""
    async with OriginClient([registry.config()], bounds=SHORT) as client:
        yield client
