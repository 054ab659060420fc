"""What `helm test` finds out, against fronts and exporters that are well, not ready, or others'."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import yaml

from shoal.core.errors import SettingsError
from shoal.setup.node.check import Served, check_until_well, read_served


class Agent:
    """An agent of one port: front, health and metrics."""

    def __init__(self) -> None:
        self.name = "shoal"
        self.status = 200
        self.checks = {"front": "ok"}
        self.metrics = "# HELP\nshoal_members 1\n"
        self.port = 0

    def answer(self, path: str) -> tuple[int, str]:
        """Return what a path is answered."""
        if path == "/metrics":
            return 200, self.metrics
        return (self.status if path == "/readyz" else 200), json.dumps({"checks": self.checks})


@pytest.fixture
def agent() -> Iterator[Agent]:
    it = Agent()

    class Handler(BaseHTTPRequestHandler):
        def version_string(self) -> str:
            return it.name

        def do_GET(self) -> None:
            status, body = it.answer(self.path)
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        it.port = server.server_port
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield it
        server.shutdown()
        thread.join()


def _wrong(agent: Agent, *, exporter: bool = True) -> dict[str, str]:
    served = Served(agent.port, agent.port if exporter else None, "127.0.0.1")
    found = check_until_well(served, patience_s=0, pause=lambda _: None)
    return {it.subject: f"{it.text} {it.todo}" for it in found if not it.ok}


def test_an_agent_that_serves_is_well(agent: Agent) -> None:
    assert _wrong(agent) == {}
    assert _wrong(agent, exporter=False) == {}


def test_an_agent_that_is_not_ready_says_why(agent: Agent) -> None:
    agent.status, agent.checks = 503, {"front": "ok", "membership": "nobody is known"}
    wrong = _wrong(agent)
    assert list(wrong) == ["ready"]
    assert "membership: nobody is known" in wrong["ready"]


def test_another_program_is_named_with_the_remedy(agent: Agent) -> None:
    agent.name, agent.metrics = "other", ""
    wrong = _wrong(agent)
    assert "p2p.port" in wrong["front"]
    assert "p2p.v2.exporter.port" in wrong["exporter"]


def test_nobody_is_waited_for_and_then_told() -> None:
    clock = iter(range(10))
    waits: list[float] = []
    found = check_until_well(
        Served(1, 1, "127.0.0.1"),
        patience_s=3,
        now=lambda: next(clock),
        pause=waits.append,
    )
    assert len(waits) == 2
    assert [it.subject for it in found if not it.ok] == ["front", "exporter"]
    assert "kubectl logs" in found[0].todo


def test_what_to_ask_is_in_the_charts_settings(tmp_path: Path) -> None:
    path = tmp_path / "setup.yaml"
    environment = {"SHOAL_SETUP_CONFIG": str(path), "SHOAL_SETUP_HOST_IP": "10.0.0.1"}
    with pytest.raises(SettingsError, match="cannot read"):
        read_served(environment)
    setup = {"ports": {"front": 1, "exporter": 3}, "agent": {"exporter": {"enabled": False}}}
    path.write_text(yaml.safe_dump(setup))
    assert read_served(environment) == Served(1, None, "10.0.0.1")
    path.write_text(yaml.safe_dump({**setup, "agent": {}}))
    assert read_served(environment) == Served(1, 3, "10.0.0.1")
    path.write_text("[]")
    with pytest.raises(SettingsError, match="lacks"):
        read_served(environment)
