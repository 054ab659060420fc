"""What every test of peer connections has to leave behind: nothing."""

import asyncio
import os
from collections.abc import AsyncIterator
from typing import Any

import pytest

from shoal.adapters.certificates.peer_credentials import PeerCredentials
from unit.adapters.peers.cluster import Nodes


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Nodes:
    """A cluster; what a test revokes there is unknown in the next."""
    return Nodes(tmp_path_factory.mktemp("cluster"))


@pytest.fixture(scope="session")
def credentials(cluster: Nodes) -> tuple[PeerCredentials, PeerCredentials]:
    """Those of two nodes, which no test changes."""
    return cluster.node(), cluster.node()


@pytest.fixture(autouse=True)
async def leaves_nothing() -> AsyncIterator[None]:
    """Fail the test that leaves a task or a descriptor, or in which a callback raised."""
    loop = asyncio.get_running_loop()
    raised: list[dict[str, Any]] = []
    loop.set_exception_handler(lambda _, context: raised.append(context))
    tasks = asyncio.all_tasks()
    descriptors = len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - paths would be of no use
    yield
    await asyncio.sleep(0)
    assert raised == []
    assert asyncio.all_tasks() - tasks - {asyncio.current_task()} == set()
    assert len(os.listdir("/proc/self/fd")) == descriptors  # noqa: PTH208
