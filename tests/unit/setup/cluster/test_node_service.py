"""What nodes get from the controller, and what they do not."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from shoal.adapters.certificates.certificate import read_certificates
from shoal.adapters.certificates.keys import make_key
from shoal.setup.cluster.controller import Controller
from shoal.setup.cluster.job import run_job
from shoal.testing.kube.faults import Refuse
from unit.setup.cluster.nodes import ask, give_token, request_for
from unit.setup.cluster.test_controller import controlling
from unit.setup.cluster.world import World, world

CERTIFICATES, REPORTS = "/v1/certificates", "/v1/reports"
FINE = {"status": "True", "reason": "Installed", "message": "all is well"}


@pytest.fixture
async def here(tmp_path: Path) -> AsyncIterator[World]:
    """A cluster that the Job has set up, with the token of node a's agent."""
    async with world(tmp_path) as running:
        await run_job(running.installation, running.tools())
        give_token(running, "t", node="a")
        yield running


@pytest.fixture
async def controller(here: World) -> AsyncIterator[Controller]:
    """A controller in it."""
    async with controlling(here) as running:
        yield running


async def test_a_node_gets_a_certificate_for_its_own_name_and_addresses(
    here: World, controller: Controller
) -> None:
    key = make_key()
    body = request_for(here, "a", "192.0.2.1", key=key)
    status, answer, _ = await ask(here, controller.port, CERTIFICATES, body, token="t")
    assert status == 200
    certificate = read_certificates(answer["certificate"].encode(), name="a")[0]
    assert certificate.public_key == key.public_key()
    identity = certificate.identity
    assert (identity.node, identity.addresses) == ("a", frozenset({"192.0.2.1"}))
    authority = read_certificates(answer["ca"].encode(), name="ca")[0]
    certificate.x509.verify_directly_issued_by(authority.x509)
    assert (certificate.not_after - certificate.not_before).days == 90


@pytest.mark.parametrize(("node", "addresses"), [("b", []), ("a", ["192.0.2.2"])])
async def test_a_node_that_asks_for_another_s_name_or_address_gets_nothing(
    here: World, controller: Controller, node: str, addresses: list[str]
) -> None:
    body = request_for(here, node, *addresses)
    status, answer, _ = await ask(here, controller.port, CERTIFICATES, body, token="t")
    assert status == 400
    assert "which is not its own" in answer["message"]


async def test_who_proves_nothing_gets_nothing(here: World, controller: Controller) -> None:
    body = request_for(here, "a")
    for token, status in (
        (None, 401),
        ("unknown", 401),
        ("first", 401),  # the API server's own
        ("x" * 8_150, 401),
    ):
        for path in (CERTIFICATES, REPORTS):
            answered, _, _ = await ask(here, controller.port, path, body, token=token)
            assert answered == status


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{", b'{"csr": 1}', b'{"csr": "x"}', b'{"csr": "' + b"x" * 20_000 + b'"}']
)
async def test_what_is_no_request_is_refused(
    here: World, controller: Controller, body: bytes
) -> None:
    status, answer, _ = await ask(here, controller.port, CERTIFICATES, body, token="t")
    assert status == 400
    assert answer["message"]


async def test_a_body_beyond_the_bound_is_not_read(here: World, controller: Controller) -> None:
    body = b'{"csr": "' + b"x" * 100_000
    status, _, _ = await ask(here, controller.port, CERTIFICATES, body, token="t")
    assert status == 413
    assert not [seen for seen in here.server.requests if "tokenreviews" in seen.path]


async def test_a_node_that_asks_too_often_waits(here: World, controller: Controller) -> None:
    give_token(here, "u", node="b")
    seen: list[tuple[int, dict[str, str]]] = []
    for _ in range(12):
        status, _, headers = await ask(here, controller.port, REPORTS, FINE, token="t")
        seen.append((status, headers))
    assert seen[0][0] == 200
    assert seen[-1][0] == 429
    assert 1 <= int(seen[-1][1]["Retry-After"]) <= 30
    status, _, _ = await ask(here, controller.port, REPORTS, FINE, token="u")
    assert status == 200


async def test_an_api_server_that_is_away_means_later(here: World, controller: Controller) -> None:
    with here.server.faults.during(Refuse(503), verb="create"):
        status, _, headers = await ask(here, controller.port, REPORTS, FINE, token="t")
    assert status == 503
    assert int(headers["Retry-After"]) >= 1


async def test_a_report_becomes_a_condition_and_is_answered_with_the_runtime(
    here: World, controller: Controller
) -> None:
    status, answer, _ = await ask(here, controller.port, REPORTS, FINE, token="t")
    assert (status, answer) == (200, {"containerRuntimeVersion": "containerd://1.7.28"})
    condition = here.get("/api/v1/nodes/a")["status"]["conditions"][-1]
    assert (condition["type"], condition["status"]) == ("ShoalReady", "True")
    status, answer, _ = await ask(here, controller.port, REPORTS, {"status": 1}, token="t")
    assert status == 400


async def test_a_node_without_an_address_gets_no_certificate(
    here: World, controller: Controller
) -> None:
    node: dict[str, Any] = here.get("/api/v1/nodes/a")
    here.server.put("/api/v1/nodes/a", {**node, "status": {}})
    body = request_for(here, "a")
    status, answer, _ = await ask(here, controller.port, CERTIFICATES, body, token="t")
    assert (status, "InternalIP" in answer["message"]) == (403, True)
