"""What tests of the driver have to leave behind: nothing."""

import asyncio
import threading
from collections.abc import AsyncIterator
from typing import Any

import pytest

from shoal.agent.workers import Workers
from unit.agent.driving import descriptors


@pytest.fixture
async def leaves_nothing() -> AsyncIterator[None]:
    """Fail the test that leaves a task, a thread or a descriptor, or in which a callback raised."""
    loop = asyncio.get_running_loop()
    raised: list[dict[str, Any]] = []
    loop.set_exception_handler(lambda _, context: raised.append(context))
    tasks = asyncio.all_tasks()
    before = descriptors()
    threads = set(threading.enumerate())
    yield
    await asyncio.sleep(0)
    assert raised == []
    assert asyncio.all_tasks() - tasks - {asyncio.current_task()} == set()
    assert set(threading.enumerate()) - threads == set()
    assert descriptors() == before


@pytest.fixture
async def workers(leaves_nothing: None) -> AsyncIterator[Workers]:
    """Threads, and a loop that does short work itself."""
    made = Workers(2)
    yield made
    made.stop()
