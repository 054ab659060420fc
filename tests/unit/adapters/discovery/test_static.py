"""A list of members: addresses at once, names as they resolve."""

import asyncio
import logging

import pytest

from shoal.adapters.discovery.static import StaticDiscovery
from shoal.core.endpoint import Endpoint
from shoal.core.peer import PeerId


def _members(*texts: str) -> list[Endpoint]:
    return [Endpoint.parse(text) for text in texts]


def _peers(*texts: str) -> frozenset[PeerId]:
    return frozenset(PeerId(text) for text in texts)


async def test_addresses_are_told_before_any_name_is_looked_up() -> None:
    told: list[frozenset[PeerId]] = []
    asked = asyncio.Event()

    async def never(_host: str) -> frozenset[str]:
        asked.set()
        await asyncio.Event().wait()
        raise AssertionError

    discovery = StaticDiscovery(_members("10.0.0.1:1", "node:2"), resolve=never)
    task = asyncio.ensure_future(discovery.watch(told.append))
    async with asyncio.timeout(30):
        await asked.wait()
    assert told == [_peers("10.0.0.1:1")]
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_a_name_follows_its_address_and_keeps_the_last_one(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.WARNING)
    answers: dict[str, list[frozenset[str] | OSError]] = {
        "a": [frozenset({"10.0.0.1"}), OSError("SERVFAIL"), OSError("SERVFAIL")],
        "b": [frozenset({"10.0.0.2"}), frozenset({"fd00::2"}), frozenset({"fd00::2"})],
    }
    done = asyncio.Event()

    async def resolve(host: str) -> frozenset[str]:
        if not answers[host]:
            done.set()
            await asyncio.Event().wait()
        answer = answers[host].pop(0)
        if isinstance(answer, OSError):
            raise answer
        return answer

    told: list[frozenset[PeerId]] = []
    discovery = StaticDiscovery(_members("a:1", "b:2"), refresh_s=0.0, resolve=resolve)
    task = asyncio.ensure_future(discovery.watch(told.append))
    async with asyncio.timeout(30):
        await done.wait()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert told == [
        _peers("10.0.0.1:1", "10.0.0.2:2"),
        _peers("10.0.0.1:1", "[fd00::2]:2"),
    ]
    assert [record.message for record in caplog.records] == ["member_not_resolved"]


async def test_a_list_of_names_alone_is_told_when_all_were_looked_up_whatever_came_of_it() -> None:
    told: list[frozenset[PeerId]] = []
    once = asyncio.Event()

    async def resolve(host: str) -> frozenset[str]:
        if host == "slow":
            assert told == []
            once.set()
        raise OSError("SERVFAIL")

    discovery = StaticDiscovery(_members("a:1", "slow:2"), resolve=resolve, refresh_s=0.0)
    task = asyncio.ensure_future(discovery.watch(told.append))
    async with asyncio.timeout(30):
        await once.wait()
        while not told:  # noqa: ASYNC110 - a list, which has no event
            await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert told == [frozenset()]
