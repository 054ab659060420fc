"""The trimmer: once after each time that something arrived, and no more often than in a while."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest

from shoal.agent import trimming
from shoal.agent.trimming import EVERY_S, Trimmer
from shoal.agent.workers import Workers
from unit.agent.driving import until

pytestmark = pytest.mark.usefixtures("leaves_nothing")


@dataclass(slots=True)
class Agent:
    """What the trimmer sees of one."""

    workers: Workers
    now_s: float = 1000.0
    is_busy: bool = False
    dropped: int = 0
    trimmed: list[int] = field(default_factory=list)
    trimmer: Trimmer = field(init=False)

    def __post_init__(self) -> None:
        self.trimmer = Trimmer(
            self.workers,
            clock_s=lambda: self.now_s,
            is_busy=lambda: self.is_busy,
            drop_spare=self._drop,
        )

    def _drop(self) -> None:
        self.dropped += 1

    def burst(self) -> None:
        """Let a blob arrive and be there."""
        for self.is_busy in (True, False):
            self.trimmer.look()


@pytest.fixture
async def agent(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Agent]:
    workers = Workers(1)
    trimmed: list[int] = []
    monkeypatch.setattr(trimming, "_malloc_trim", lambda: trimmed.append)
    yield Agent(workers, trimmed=trimmed)
    workers.stop()


async def test_memory_is_given_back_when_what_arrived_is_there(agent: Agent) -> None:
    agent.trimmer.look()
    assert agent.dropped == 0, "nothing arrived"
    agent.burst()
    assert agent.dropped == 1
    agent.trimmer.look()
    assert agent.dropped == 1, "once"
    await until(lambda: agent.trimmed == [0])


async def test_not_more_often_than_in_a_while(agent: Agent) -> None:
    agent.burst()
    agent.burst()
    assert agent.dropped == 1
    agent.now_s += EVERY_S
    agent.trimmer.look()
    assert agent.dropped == 2, "the second is not forgotten"
    await until(lambda: agent.trimmed == [0, 0])


async def test_another_c_library_only_loses_its_spare_buffers(
    agent: Agent, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trimming, "_malloc_trim", lambda: None)
    other = Agent(agent.workers)
    other.burst()
    assert other.dropped == 1


def test_this_machines_c_library_is_asked_for_it_by_its_name() -> None:
    trim = trimming._malloc_trim()
    assert trim is None or trim(0) in (0, 1)
