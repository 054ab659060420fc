"""The demo's agents: what they are told, and what happens if they do not come up."""

import sys
import time
from pathlib import Path

import aiohttp
import pytest
import yaml
from aiohttp import web
from aiohttp.test_utils import TestServer

from shoal.agent.settings import AgentSettings
from shoal.testing.bed.processes import Service
from shoal.testing.demo import site as site_module
from shoal.testing.demo.addresses import Addresses, NodeAddress
from shoal.testing.demo.failures import AddressTaken, DemoFailed
from shoal.testing.demo.site import Figures, Node, Site, agent_command, parse_figures

ADDRESSES = Addresses(
    "127.1.2.254", 5000, tuple(NodeAddress(f"127.1.2.{number}") for number in (1, 2))
)
METRICS = (
    "# HELP shoal_origin_bytes_total Bytes\n"
    'shoal_origin_bytes_total{kind="blob"} 1.5e+06\n'
    'shoal_origin_bytes_total{kind="manifest"} 7.0\n'
    "shoal_peer_received_bytes_total 42.0\n"
)


def site_of(folder: Path, *commands: str) -> Site:
    """Return a site whose agents are shell commands."""
    site = Site(folder, ADDRESSES, store_bytes=1000)
    site.nodes = [
        Node(
            f"node {number}",
            NodeAddress("127.0.0.1", 9),
            Service(f"agent {number}", ["sh", "-c", command], log=folder / f"{number}.log"),
        )
        for number, command in enumerate(commands, 1)
    ]
    return site


def test_agents_get_settings_that_they_accept(tmp_path: Path) -> None:
    site = Site(tmp_path, ADDRESSES, store_bytes=1000)
    assert [node.front_url for node in site.nodes] == [
        "http://127.1.2.1:65001",
        "http://127.1.2.2:65001",
    ]
    for number in (1, 2):
        text = (tmp_path / f"node-{number}" / "agent.yaml").read_text()
        settings = AgentSettings.model_validate(yaml.safe_load(text))
        assert settings.front.hosts == (f"127.1.2.{number}",)
        assert settings.membership.static == ("127.1.2.1:65002", "127.1.2.2:65002")
        assert settings.store.path == tmp_path / f"node-{number}" / "store"
        assert settings.registries[0].base_url == "http://127.1.2.254:5000"


def test_variables_of_the_user_do_not_reach_the_agents(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/bin")
    monkeypatch.delenv("PYTHONPATH", raising=False)
    monkeypatch.setenv("SHOAL_FRONT__PORT", "1")
    command = agent_command(Path("/x/agent.yaml"))
    assert command[:3] == ["env", "-i", "PATH=/bin"]
    assert command[3:] == [sys.executable, "-m", "shoal", "agent", "--config", "/x/agent.yaml"]


def test_figures_are_read_from_metrics() -> None:
    assert parse_figures(METRICS) == Figures(origin_bytes=1_500_000, peer_bytes=42)
    with pytest.raises(ValueError, match="no metric shoal_peer"):
        parse_figures(METRICS.replace("shoal_peer_received_bytes_total", "other"))


@pytest.mark.parametrize(
    ("command", "kind", "said"),
    [
        ("echo out of luck; exit 3", DemoFailed, r"(?s)agent 2 ended with 3; .*  out of luck"),
        ("exit 3", DemoFailed, "agent 2 ended with 3; its log is empty"),
        ("echo cannot listen: the port is in use by x; exit 78", AddressTaken, "in use by x"),
    ],
)
async def test_an_agent_that_ends_is_told_with_its_log(
    tmp_path: Path, command: str, kind: type[DemoFailed], said: str
) -> None:
    site = site_of(tmp_path, "exec sleep 30", command)
    site.start()
    try:
        async with aiohttp.ClientSession() as session:
            with pytest.raises(kind, match=said):
                await site.wait_ready(session, timeout_s=60)
    finally:
        site.stop()
    assert not any(node.service.running for node in site.nodes)
    site.stop()


async def test_an_agent_that_does_not_get_ready_is_not_waited_for_long(tmp_path: Path) -> None:
    site = site_of(tmp_path, "echo thinking; exec sleep 30")
    site.start()
    try:
        async with aiohttp.ClientSession() as session:
            with pytest.raises(DemoFailed, match=r"(?s)was not ready after 0\.3 s; .*thinking"):
                await site.wait_ready(session, timeout_s=0.3)
            assert await site.figures(session, patience_s=0.2) == [None]
    finally:
        site.stop()


async def test_agents_are_ready_and_asked_for_their_figures(tmp_path: Path) -> None:
    async def answer(request: web.Request) -> web.Response:
        return web.Response(text=METRICS if request.path == "/metrics" else "ready")

    server = TestServer(web.Application(), host="127.0.0.1")
    server.app.router.add_get("/{path}", answer)
    await server.start_server()
    site = site_of(tmp_path, "exec sleep 30")
    assert server.port is not None
    # The front and the exporter in one: of three ports that follow each other, all are this one.
    address = OneAddress("127.0.0.1", server.port)
    site.nodes = [Node("node 1", address, site.nodes[0].service)]
    try:
        async with aiohttp.ClientSession() as session:
            await site.wait_ready(session)
            assert await site.figures(session) == [Figures(1_500_000, 42)]
    finally:
        await server.close()


class OneAddress(NodeAddress):
    """Everything on one port."""

    @property
    def exporter(self) -> str:
        """The front's."""
        return self.front


def test_an_agent_that_cannot_be_started_is_told(tmp_path: Path) -> None:
    site = site_of(tmp_path, "true")
    site.nodes[0].service.argv = [str(tmp_path / "absent")]
    with pytest.raises(DemoFailed, match="agent 1 cannot be started: "):
        site.start()
    site.stop()


def test_agents_that_do_not_end_are_ended_by_force_all_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(site_module, "_STOP_TIMEOUT_S", 0.2)
    stubborn = "trap '' TERM; echo ready; while :; do sleep 0.05; done"
    site = site_of(tmp_path, stubborn, stubborn)
    site.start()
    logs = [node.service.log for node in site.nodes]
    site.nodes[0].service.wait_until(
        lambda: all(log.read_text() == "ready\n" for log in logs), timeout_s=60
    )
    began_s = time.monotonic()
    site.stop()
    assert time.monotonic() - began_s < 10
    assert not any(node.service.running for node in site.nodes)
