"""What a node reaches, one check each."""

import asyncio

import pytest

from shoal.adapters.cloud import reach
from shoal.cli.doctoring.checks import Check, State, node_checks
from shoal.core.endpoint import Endpoint


async def _checks(registries: list[str], peers: list[Endpoint]) -> list[Check]:
    return [check async for check in node_checks(registries, peers, plain_http=True)]


async def test_nodes_that_cannot_be_reached_are_counted_and_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server = await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]

        async def addresses(host: str, port: int) -> tuple[Endpoint, ...]:
            return tuple(Endpoint(one, port) for one in ("127.0.0.1", "127.0.0.2"))

        monkeypatch.setattr(reach, "addresses_of", addresses)
        (check,) = await _checks([], [Endpoint("agents", port)])
    assert (check.state, check.mistake) == (State.PROBLEM, "node-cannot-reach-node")
    assert f"cannot reach 1 of 2 nodes (127.0.0.2:{port}: " in check.message


async def test_a_name_that_is_not_known_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    async def addresses(host: str, port: int) -> tuple[Endpoint, ...]:
        raise OSError(-2, "Name or service not known")

    monkeypatch.setattr(reach, "addresses_of", addresses)
    (check,) = await _checks([], [Endpoint("agents", 65002)])
    assert "agents:65002: Name or service not known" in check.message


async def test_a_registry_that_is_away_is_told() -> None:
    (check,) = await _checks(["127.0.0.1:9"], [])
    assert check.mistake == "node-cannot-reach-registry"
    assert check.step == "Step 3, edge node pools"
