"""Background tasks: held, named, told when they fail, and ended together."""

import asyncio
import gc
import logging

import pytest

from shoal.agent.tasks import Tasks

pytestmark = pytest.mark.usefixtures("leaves_nothing")


async def test_a_task_is_held_until_it_is_done() -> None:
    tasks = Tasks()
    done = asyncio.Event()

    async def work() -> str:
        await asyncio.sleep(0)
        done.set()
        return "what it is for"

    task = tasks.start(work(), name="a piece of work")
    assert len(tasks) == 1
    assert task.get_name() == "a piece of work"
    gc.collect()  # what only the loop knows of may be collected
    await done.wait()
    assert await task == "what it is for"
    await asyncio.sleep(0)
    assert len(tasks) == 0


async def test_a_task_that_fails_is_logged_and_ends_no_other(
    caplog: pytest.LogCaptureFixture,
) -> None:
    tasks = Tasks()

    async def fail() -> None:
        raise ValueError("by design")

    other = tasks.start(asyncio.sleep(60), name="another blob")
    failed = tasks.start(fail(), name="a blob in trouble")
    await asyncio.wait([failed])
    await asyncio.sleep(0)
    assert not other.done()
    (record,) = caplog.records
    assert (record.getMessage(), record.levelno) == ("task_failed", logging.ERROR)
    assert record.__dict__["task"] == "a blob in trouble"
    assert record.exc_info is not None
    await tasks.end()


async def test_ending_waits_until_every_task_has_cleaned_up(
    caplog: pytest.LogCaptureFixture,
) -> None:
    tasks = Tasks()
    cleaned: list[int] = []

    async def work(n: int) -> None:
        try:
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(0.001 * n)
            cleaned.append(n)

    for n in range(3):
        tasks.start(work(n), name=f"work {n}")
    await asyncio.sleep(0)
    await tasks.end()
    assert cleaned == [0, 1, 2]
    assert len(tasks) == 0
    assert caplog.records == [], "to be ended is no failure"
    await tasks.end()  # nothing is left: it returns at once


async def test_a_task_that_does_not_end_is_waited_for_only_so_long() -> None:
    tasks = Tasks()
    release = asyncio.Event()

    async def cling() -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            await release.wait()

    task = tasks.start(cling(), name="cling")
    await asyncio.sleep(0)
    async with asyncio.timeout(30.0):
        await tasks.end(timeout_s=0.01)
    assert not task.done()
    release.set()
    await task


async def test_finishing_lets_tasks_end_by_themselves_and_those_that_they_start() -> None:
    tasks = Tasks()
    ended: list[str] = []

    async def work(name: str) -> None:
        await asyncio.sleep(0.01)
        if name == "first":
            tasks.start(work("second"), name="second")
        ended.append(name)

    tasks.start(work("first"), name="first")
    await tasks.finish(timeout_s=30.0)
    assert ended == ["first", "second"]


async def test_finishing_cancels_what_takes_too_long() -> None:
    tasks = Tasks()
    task = tasks.start(asyncio.sleep(60), name="slow")
    await tasks.finish(timeout_s=0.01)
    assert task.cancelled()
    await tasks.finish(timeout_s=5.0)  # nothing is left
