"""Members from the sources that the settings name, while the settings change."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from shoal.adapters.kube.api import KubeAccess
from shoal.agent import members as members_module
from shoal.agent.members import Members
from shoal.agent.settings import AgentSettings
from shoal.core.errors import SettingsError
from shoal.core.peer import PeerId
from unit.agent.driving import until

A, B, C = (PeerId(f"10.0.0.{n}:65002") for n in (1, 2, 3))


def settings(**membership: Any) -> AgentSettings:
    return AgentSettings.model_validate({"membership": membership, "peer": {"plaintext": True}})


class Dns:
    """What DNS answers for each name, when it does."""

    answers: dict[str, asyncio.Future[frozenset[PeerId]]]

    def __init__(self, name: str, **_: object) -> None:
        self._name = name

    async def watch(self, changed: Any) -> None:
        """Tell the answer once it is there."""
        changed(await self.answers[self._name])
        await asyncio.Event().wait()


class Kubernetes:
    """Says at once who the members are, and remembers how it was made."""

    made: list[tuple[str, bool]]

    def __init__(self, access: KubeAccess, *, prefers_ipv6: bool, **_: object) -> None:
        self.made.append((access.server, prefers_ipv6))

    async def watch(self, changed: Any) -> None:
        """Tell it."""
        changed(frozenset({A}))
        await asyncio.Event().wait()


@pytest.fixture(autouse=True)
def kubernetes(monkeypatch: pytest.MonkeyPatch) -> None:
    Kubernetes.made = []
    monkeypatch.setattr(members_module, "KubernetesDiscovery", Kubernetes)


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


def in_cluster(address: str = "10.0.0.1", **more: str) -> AgentSettings:
    service = {"namespace": "shoal", "service": "peers", **more}
    return AgentSettings.model_validate(
        {
            "membership": {"kubernetes": service},
            "peer": {"address": address, "plaintext": True},
        }
    )


async def test_a_service_s_endpoints_are_told_in_place_of_a_list() -> None:
    async with watching() as (members, told):
        members.apply(settings(static=["10.0.0.2"]))
        await until(lambda: told == [{B}])
        members.apply(in_cluster(server="https://10.96.0.1"))
        await until(lambda: told == [{B}, {A}])
    assert Kubernetes.made == [("https://10.96.0.1", False)]


async def test_a_node_of_ipv6_knows_its_peers_by_that(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "fd00::1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "443")
    async with watching() as (members, told):
        members.apply(in_cluster("fd00::7"))
        await until(lambda: told == [{A}])
    assert Kubernetes.made == [("https://[fd00::1]:443", True)]


def test_outside_a_cluster_the_server_must_be_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    with pytest.raises(SettingsError, match=r"membership\.kubernetes\.server"):
        Members.check(in_cluster())
    Members.check(in_cluster(server="https://10.96.0.1"))
