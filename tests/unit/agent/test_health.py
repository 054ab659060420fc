"""Alive, ready, and why not."""

import json

from shoal.agent.health import Health, health_routes


def test_an_agent_that_answers_is_alive_whatever_it_is_not_ready_for() -> None:
    answer = health_routes(lambda: Health({"membership": "not known yet"}))
    assert answer("/livez") == (200, b'{"status": "ok"}\n')
    assert answer("/healthz")[0] == 200


def test_an_agent_is_ready_when_all_its_parts_are_well() -> None:
    status, body = health_routes(lambda: Health({"front": None}))("/readyz")
    assert status == 200
    assert json.loads(body) == {"status": "ready", "checks": {"front": "ok"}}


def test_an_agent_that_is_not_ready_says_why() -> None:
    answer = health_routes(lambda: Health({"front": None, "membership": "not known yet"}))
    status, body = answer("/readyz")
    assert status == 503
    assert json.loads(body)["checks"] == {"front": "ok", "membership": "not known yet"}


def test_another_path_is_not_found() -> None:
    assert health_routes(Health)("/metrics")[0] == 404
