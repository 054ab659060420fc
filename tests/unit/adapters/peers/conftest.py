"""What every test of peer connections has to leave behind: nothing."""

import asyncio
import os
from collections.abc import AsyncIterator
from typing import Any

import pytest


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
