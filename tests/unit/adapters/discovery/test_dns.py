"""Members from DNS: what a change, a failure and an empty answer do."""

import asyncio
import logging
import socket
from collections.abc import Sequence

import pytest

from shoal.adapters.discovery.dns import DnsDiscovery
from shoal.core.peer import PeerId

Answer = frozenset[str] | OSError


class Names:
    """A resolver that gives its answers in turn and then has no more to say."""

    def __init__(self, answers: Sequence[Answer]) -> None:
        self._answers = list(answers)
        self.exhausted = asyncio.Event()

    async def __call__(self, host: str) -> frozenset[str]:
        """Give the next answer."""
        assert host == "peers.example"
        if not self._answers:
            self.exhausted.set()
            await asyncio.Event().wait()
        answer = self._answers.pop(0)
        if isinstance(answer, OSError):
            raise answer
        return answer


async def _told(*answers: Answer) -> list[frozenset[PeerId]]:
    names = Names(answers)
    told: list[frozenset[PeerId]] = []
    discovery = DnsDiscovery(
        "peers.example", port=65002, refresh_s=0.0, timeout_s=30, resolve=names
    )
    task = asyncio.ensure_future(discovery.watch(told.append))
    async with asyncio.timeout(30):
        await names.exhausted.wait()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    return told


ONE = frozenset({"10.0.0.1"})
TWO = frozenset({"10.0.0.1", "fd00::2"})
NOBODY: frozenset[str] = frozenset()
ONE_MEMBER = frozenset({PeerId("10.0.0.1:65002")})
TWO_MEMBERS = frozenset({PeerId("10.0.0.1:65002"), PeerId("[fd00::2]:65002")})


async def test_only_changes_are_told() -> None:
    assert await _told(ONE, ONE, TWO, TWO, ONE) == [ONE_MEMBER, TWO_MEMBERS, ONE_MEMBER]


async def test_the_last_members_stay_while_look_ups_fail() -> None:
    assert await _told(TWO, OSError("SERVFAIL"), OSError("SERVFAIL"), TWO) == [TWO_MEMBERS]


async def test_a_first_answer_without_members_is_told() -> None:
    assert await _told(NOBODY, ONE) == [frozenset(), ONE_MEMBER]


@pytest.mark.parametrize("number", [socket.EAI_NONAME, socket.EAI_NODATA])
async def test_a_name_that_does_not_exist_yet_is_an_answer_if_it_is_the_first(number: int) -> None:
    unknown = socket.gaierror(number, "Name or service not known")
    assert await _told(unknown, ONE) == [frozenset(), ONE_MEMBER]
    assert await _told(ONE, unknown, unknown, unknown, unknown, ONE) == [ONE_MEMBER]


async def test_a_name_server_that_cannot_be_asked_gives_no_first_answer() -> None:
    away = socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
    assert await _told(away, OSError("no answer within 5 s"), ONE) == [ONE_MEMBER]


async def test_an_empty_answer_is_believed_only_when_repeated() -> None:
    assert await _told(ONE, NOBODY, NOBODY, ONE) == [ONE_MEMBER]
    assert await _told(ONE, NOBODY, NOBODY, NOBODY) == [ONE_MEMBER, frozenset()]


async def test_an_outage_is_logged_once_and_its_end_too(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    await _told(ONE, OSError("SERVFAIL"), OSError("SERVFAIL"), ONE)
    assert [record.message for record in caplog.records] == ["dns_failed", "dns_recovered"]


async def _slept(monkeypatch: pytest.MonkeyPatch, *answers: Answer) -> list[float]:
    """Return the seconds between look-ups that draw the least, the middle and the longest."""
    slept: list[float] = []
    sleep = asyncio.sleep

    async def record(delay_s: float) -> None:
        slept.append(delay_s)
        await sleep(0)

    monkeypatch.setattr(asyncio, "sleep", record)
    names = Names(answers)
    draws = iter([0.0, 0.5, 1.0])
    discovery = DnsDiscovery(
        "peers.example",
        port=1,
        refresh_s=10,
        timeout_s=30,
        resolve=names,
        jitter=lambda: next(draws),
    )
    task = asyncio.ensure_future(discovery.watch(lambda _: None))
    async with asyncio.timeout(30):
        await names.exhausted.wait()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    return slept


async def test_look_ups_are_spread_around_the_interval(monkeypatch: pytest.MonkeyPatch) -> None:
    assert await _slept(monkeypatch, ONE, ONE, ONE) == pytest.approx([9.0, 10.0, 11.0])


async def test_the_first_answer_is_asked_for_more_often(monkeypatch: pytest.MonkeyPatch) -> None:
    away = socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
    assert await _slept(monkeypatch, away, away, ONE) == pytest.approx([0.9, 1.0, 11.0])
