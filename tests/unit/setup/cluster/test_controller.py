"""The controller against an API server over HTTPS: what it keeps true, and through what."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
import yaml

from shoal.adapters.kube.reflector import Waits
from shoal.core.errors import SettingsError
from shoal.setup.cluster.controller import Controller, ControllerTools, Times
from shoal.setup.cluster.job import run_job
from shoal.setup.cluster.lookup import Registries
from shoal.testing.kube.faults import Refuse
from unit.agent.driving import until
from unit.setup.cluster.nodes import ask, give_token, request_for
from unit.setup.cluster.world import AGENT_MAP, NAME, NAMESPACE, World, world

QUICK = Times(look_s=0.1, endpoints_s=0.2, settle_s=0.01, renew_s=0.05, authority_s=0.02)


class Switched:
    """A look-up that a test changes."""

    def __init__(self) -> None:
        """Know one registry."""
        self.names: tuple[str, ...] = ("first.example.com",)
        self.shares = True
        self.is_away = False
        self.farewells = 0

    async def look_up(self) -> Registries:
        """Tell all."""
        self._answer()
        return Registries(names=self.names, may_share=self.shares)

    async def may_share(self) -> bool:
        """Tell the switch."""
        self._answer()
        return self.shares

    async def uninstalled(self) -> None:
        """Count it."""
        self._answer()
        self.farewells += 1

    def _answer(self) -> None:
        if self.is_away:
            raise SettingsError("the cloud does not answer")


@pytest.fixture
async def here(tmp_path: Path) -> AsyncIterator[World]:
    """A cluster that the Job has set up."""
    async with world(tmp_path) as running:
        running.lookup = Switched()
        await run_job(running.installation, running.tools())
        yield running


@asynccontextmanager
async def controlling(here: World, times: Times = QUICK) -> AsyncIterator[Controller]:
    tools = ControllerTools(
        access=here.access,
        lookup=here.lookup,
        check_settings=here.check_settings,
        host="127.0.0.1",
        port=0,
        health_port=0,
        times=times,
        waits=Waits(first_s=0.01, most_s=0.05, short_s=0.0),
    )
    controller = Controller(here.installation, tools)
    async with controller.running():
        yield controller


def data(here: World, key: str) -> object:
    return yaml.safe_load(here.get(AGENT_MAP)["data"][key])


def names(here: World) -> list[str]:
    settings = yaml.safe_load(here.get(AGENT_MAP)["data"]["agent.yaml"])
    return [registry["name"] for registry in settings["registries"]]


async def test_what_was_changed_by_hand_is_put_right(here: World) -> None:
    before = here.get(AGENT_MAP)["data"]
    async with controlling(here):
        here.server.put(AGENT_MAP, {"data": {"agent.yaml": "nonsense", "more": "x"}})
        await until(lambda: here.get(AGENT_MAP)["data"] == before)


async def test_a_node_that_joins_a_pool_is_in_its_site_soon(here: World) -> None:
    spec = {"spec": {"type": "Edge", "interConnectivity": True}}
    here.server.put("/apis/apps.openyurt.io/v1beta2/nodepools/np1", spec)
    slow = Times(look_s=60, settle_s=0.01, authority_s=0.02)  # the watch brings it, not the clock
    async with controlling(here, slow):
        await until(lambda: here.server.watches == 1)
        here.put_node("c", pool="np1", edge="true")
        await until(
            lambda: data(here, "nodes.yaml") == {"a": "default", "b": "default", "c": "np1"}
        )
        here.server.delete("/api/v1/nodes/c")
        await until(lambda: data(here, "nodes.yaml") == {"*": "default"})


async def test_a_switch_and_new_endpoints_reach_the_agents(here: World) -> None:
    lookup = here.lookup
    assert isinstance(lookup, Switched)
    async with controlling(here):
        lookup.shares = False
        await until(lambda: data(here, "nodes.yaml") == {})
        lookup.shares = True
        lookup.names = ("second.example.com",)
        await until(lambda: names(here) == ["registry.example.com", "second.example.com"])
        await until(lambda: data(here, "nodes.yaml") == {"*": "default"})


async def test_a_cloud_that_is_away_changes_nothing(here: World) -> None:
    lookup = here.lookup
    assert isinstance(lookup, Switched)
    async with controlling(here) as controller:
        await until(lambda: controller.metrics.nodes._value.get() > 0)
        lookup.is_away = True
        here.server.put(AGENT_MAP, {"data": {}})
        await until(lambda: names_or_none(here) == ["registry.example.com", "first.example.com"])


def names_or_none(here: World) -> list[str]:
    return names(here) if here.get(AGENT_MAP)["data"].get("agent.yaml") else []


async def test_faults_of_the_api_server_pass(here: World) -> None:
    async with controlling(here):
        with here.server.faults.during(Refuse(503)):
            await asyncio.sleep(0.2)
        here.server.cut_watches()
        here.server.faults.add(Refuse(410), verb="watch")
        here.server.faults.add(Refuse(429, retry_after_s=0), verb="list")
        here.server.put(AGENT_MAP, {"data": {}})
        await until(lambda: bool(here.get(AGENT_MAP)["data"]))


async def test_two_at_once_do_no_harm(here: World) -> None:
    before = here.get(AGENT_MAP)["data"]
    async with controlling(here), controlling(here):
        for _ in range(5):
            here.server.put(AGENT_MAP, {"data": {}})
            await until(lambda: here.get(AGENT_MAP)["data"] == before)


async def test_what_an_uninstall_deletes_stays_deleted(here: World) -> None:
    async with controlling(here) as controller:
        await until(lambda: controller.metrics.nodes._value.get() > 0)
        here.server.delete(AGENT_MAP)
        await asyncio.sleep(0.4)
        with pytest.raises(AssertionError):
            here.get(AGENT_MAP)


async def test_at_its_end_it_says_that_the_component_is_gone_only_if_it_is(here: World) -> None:
    lookup = here.lookup
    assert isinstance(lookup, Switched)
    async with controlling(here) as controller:
        await until(lambda: controller.metrics.nodes._value.get() > 0)
    assert lookup.farewells == 0, "an upgrade, or a restart"
    async with controlling(here) as controller:
        await until(lambda: controller.metrics.nodes._value.get() > 0)
        here.server.delete(AGENT_MAP)
    assert lookup.farewells == 1


async def test_a_farewell_that_cannot_be_said_keeps_nobody(here: World) -> None:
    lookup = here.lookup
    assert isinstance(lookup, Switched)
    async with controlling(here) as controller:
        await until(lambda: controller.metrics.nodes._value.get() > 0)
        here.server.delete(AGENT_MAP)
        lookup.is_away = True
    assert lookup.farewells == 0


async def test_before_the_job_it_waits_and_says_so(tmp_path: Path) -> None:
    async with world(tmp_path) as here:
        tools = ControllerTools(
            access=here.access,
            lookup=here.lookup,
            check_settings=here.check_settings,
            host="127.0.0.1",
            port=0,
            health_port=0,
            times=QUICK,
        )
        controller = Controller(here.installation, tools)
        stop = asyncio.Event()
        task = asyncio.ensure_future(controller.run(stop))
        await until(lambda: controller.health_port != 0)
        async with aiohttp.ClientSession(f"http://127.0.0.1:{controller.health_port}") as session:

            async def is_ready() -> bool:
                async with session.get("/readyz") as response:
                    return response.status == 200

            assert not await is_ready()
            async with session.get("/livez") as response:
                assert response.status == 200
            await run_job(here.installation, here.tools())
            await until(lambda: controller.port != 0)
            await asyncio.sleep(0)
            assert await is_ready()
            async with session.get("/metrics") as response:
                assert "shoal_controller_looks" in await response.text()
        stop.set()
        await task


async def test_it_is_called_as_its_service_and_signs(here: World) -> None:
    give_token(here, "t", node="a")
    async with controlling(here) as controller:
        status, answer, _ = await ask(
            here, controller.port, "/v1/certificates", request_for(here, "a"), token="t"
        )
        assert status == 200
        assert answer["ca"] == here.get(AGENT_MAP)["data"]["ca.crt"]


async def test_a_webhook_s_certificate_that_is_gone_is_made_again(here: World) -> None:
    here.installed(webhook=True)
    secret = f"/api/v1/namespaces/{NAMESPACE}/secrets/{NAME}-webhook-tls"
    async with controlling(here):
        await until(lambda: has(here, secret))
        here.server.delete(secret)
        await until(lambda: has(here, secret))


def has(here: World, path: str) -> bool:
    try:
        return bool(here.get(path))
    except AssertionError:
        return False
