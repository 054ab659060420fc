"""Members from the sources that the settings name, while the settings change."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from shoal.agent import members as members_module
from shoal.agent.members import Members
from shoal.agent.settings import AgentSettings
from shoal.core.peer import PeerId
from unit.agent.driving import until

A, B, C = (PeerId(f"10.0.0.{n}:65002") for n in (1, 2, 3))


def settings(**membership: Any) -> AgentSettings:
    return AgentSettings.model_validate({"membership": membership})


class Dns:
    """What DNS answers for each name, when it does."""

    answers: dict[str, asyncio.Future[frozenset[PeerId]]]

    def __init__(self, name: str, **_: object) -> None:
        self._name = name

    async def watch(self, changed: Any) -> None:
        """Tell the answer once it is there."""
        changed(await self.answers[self._name])
        await asyncio.Event().wait()


@pytest.fixture(autouse=True)
def dns(monkeypatch: pytest.MonkeyPatch) -> None:
    Dns.answers = {}
    monkeypatch.setattr(members_module, "DnsDiscovery", Dns)


def asked(name: str) -> asyncio.Future[frozenset[PeerId]]:
    answer: asyncio.Future[frozenset[PeerId]] = asyncio.get_running_loop().create_future()
    Dns.answers[name] = answer
    return answer


@asynccontextmanager
async def watching() -> AsyncIterator[tuple[Members, list[set[PeerId]]]]:
    told: list[set[PeerId]] = []
    members = Members(lambda now: told.append(set(now)))
    try:
        yield members, told
    finally:
        await members.stop()


async def test_a_list_is_told_at_once_and_again_when_it_changes() -> None:
    async with watching() as (members, told):
        members.apply(settings(static=["10.0.0.1", "10.0.0.2"]))
        await until(lambda: told == [{A, B}])
        members.apply(settings(static=["10.0.0.1", "10.0.0.3"]))
        await until(lambda: told == [{A, B}, {A, C}])


async def test_an_empty_list_without_a_name_is_a_site_of_one() -> None:
    async with watching() as (members, told):
        members.apply(settings())
        await until(lambda: told == [set()])


async def test_an_empty_list_beside_a_name_says_nothing() -> None:
    async with watching() as (members, told):
        answer = asked("peers.example")
        members.apply(settings(dns="peers.example"))
        await asyncio.sleep(0.01)
        assert told == []
        answer.set_result(frozenset({A}))
        await until(lambda: told == [{A}])


async def test_the_members_are_those_of_both_sources() -> None:
    async with watching() as (members, told):
        asked("peers.example").set_result(frozenset({B}))
        members.apply(settings(static=["10.0.0.1"], dns="peers.example"))
        await until(lambda: told[-1:] == [{A, B}])


async def test_nothing_is_told_for_settings_that_say_the_same() -> None:
    async with watching() as (members, told):
        asked("peers.example").set_result(frozenset({B}))
        members.apply(settings(static=["10.0.0.1"], dns="peers.example"))
        await until(lambda: told[-1:] == [{A, B}])
        before = len(told)
        members.apply(settings(static=["10.0.0.1"], dns="peers.example"))
        await asyncio.sleep(0.01)
        assert len(told) == before


async def test_another_name_counts_from_its_first_answer() -> None:
    async with watching() as (members, told):
        asked("old.example").set_result(frozenset({A, B}))
        members.apply(settings(dns="old.example"))
        await until(lambda: told == [{A, B}])
        answer = asked("new.example")
        members.apply(settings(dns="new.example"))
        await asyncio.sleep(0.01)
        assert told == [{A, B}]  # the site is not empty meanwhile
        answer.set_result(frozenset({A, C}))
        await until(lambda: told == [{A, B}, {A, C}])


async def test_a_list_that_gives_way_to_a_name_stays_until_the_name_is_answered() -> None:
    async with watching() as (members, told):
        members.apply(settings(static=["10.0.0.1"]))
        await until(lambda: told == [{A}])
        answer = asked("peers.example")
        members.apply(settings(dns="peers.example"))
        await asyncio.sleep(0.01)
        assert told == [{A}]
        answer.set_result(frozenset({B}))
        await until(lambda: told == [{A}, {B}])


async def test_a_name_that_is_given_up_is_forgotten() -> None:
    async with watching() as (members, told):
        asked("peers.example").set_result(frozenset({B}))
        members.apply(settings(static=["10.0.0.1"], dns="peers.example"))
        await until(lambda: told[-1:] == [{A, B}])
        members.apply(settings(static=["10.0.0.1"]))
        await until(lambda: told[-1:] == [{A}])
