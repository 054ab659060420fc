"""MemoryKeeper: what was granted is written in a while, what was refused at once."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from shoal.agent.front.memory import Memory, boot_clock_s
from shoal.agent.front.memory_file import load
from shoal.agent.front.memory_keeper import MemoryKeeper
from shoal.agent.tasks import Tasks
from shoal.agent.workers import Workers
from shoal.core.digest import Digest
from shoal.core.trust.access import Facts, Holder
from shoal.core.trust.credentials import Fingerprint
from unit.agent.front.conftest import until

HOLDER = Holder("registry.example", "team/app", Fingerprint(b"a" * 16))
DIGEST = Digest("sha256", "1" * 64)


@contextlib.asynccontextmanager
async def kept(path: Path, memory: Memory, *, gather_s: float) -> AsyncIterator[MemoryKeeper]:
    workers = Workers(1)
    keeper = MemoryKeeper(path, memory, workers=workers, look_s=0.01, gather_s=gather_s)
    tasks = Tasks()
    tasks.start(keeper.run(), name="keeper")
    try:
        yield keeper
    finally:
        await tasks.end()
        workers.stop()


@pytest.fixture
async def workers() -> AsyncIterator[Workers]:
    made = Workers(1)
    yield made
    made.stop()


def entries(path: Path) -> int:
    memory = Memory()
    load(path, memory)
    return len(memory.access)


async def test_what_was_granted_is_written_in_a_while(tmp_path: Path) -> None:
    path, memory = tmp_path / "access.json", Memory()
    async with kept(path, memory, gather_s=0.05):
        memory.access.grant(HOLDER, DIGEST, Facts(7), now_s=boot_clock_s())
        await until(lambda: entries(path) == 1)


async def test_what_was_refused_does_not_wait(tmp_path: Path) -> None:
    path, memory = tmp_path / "access.json", Memory()
    memory.access.grant(HOLDER, DIGEST, Facts(7), now_s=boot_clock_s())
    async with kept(path, memory, gather_s=3600.0) as keeper:
        other = Holder("registry.example", "other", HOLDER.credential)
        memory.access.grant(other, DIGEST, Facts(7), now_s=boot_clock_s())
        await keeper.save()
        assert entries(path) == 2
        memory.access.refuse(HOLDER, now_s=boot_clock_s())
        await until(lambda: entries(path) == 1)


async def test_nothing_is_written_where_nothing_changed(tmp_path: Path, workers: Workers) -> None:
    keeper = MemoryKeeper(tmp_path / "access.json", Memory(), workers=workers)
    await keeper.save()
    assert list(tmp_path.iterdir()) == []


async def test_a_disk_that_fails_is_told_once_and_tried_again(
    tmp_path: Path, workers: Workers, caplog: pytest.LogCaptureFixture
) -> None:
    folder, memory = tmp_path / "gone", Memory()
    keeper = MemoryKeeper(folder / "access.json", memory, workers=workers)
    memory.access.grant(HOLDER, DIGEST, Facts(7), now_s=boot_clock_s())
    with caplog.at_level(logging.WARNING):
        await asyncio.gather(keeper.save(), keeper.save())
        await keeper.save()
    assert [record.msg for record in caplog.records] == ["access_memory_not_written"]
    folder.mkdir()
    await keeper.save()
    assert entries(folder / "access.json") == 1
