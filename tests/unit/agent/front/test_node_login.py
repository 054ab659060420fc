"""Node mode: the runtime has what the node's credential may read, and nobody else on the node."""

import base64
import json
from pathlib import Path

import pytest

from shoal.agent.front.memory import Memory
from shoal.agent.front.node_header import NODE_HEADER, node_header_value
from shoal.core.trust.access import AccessTable
from shoal.testing.registry_auth import Account, AuthMode, RegistryAuth
from shoal.testing.registry_faults import Answer, Disconnect
from unit.agent.front.conftest import ALICE, World, running

RUNTIME = {NODE_HEADER: node_header_value(bytes(32))}
NODE = {"username": "node", "password": "secret-of-node"}
MODES = pytest.mark.parametrize("mode", [AuthMode.BASIC, AuthMode.BEARER])


def accounts(mode: AuthMode) -> RegistryAuth:
    """The node may read team/app, and Alice anything."""
    return RegistryAuth(
        mode=mode,
        accounts={
            "node": Account("secret-of-node", repositories=("team/app",)),
            "alice": Account("secret-of-alice"),
        },
    )


def log_in(path: Path, world: World, **entry: str) -> None:
    """Write the node's credential for the world's registry."""
    path.write_text(json.dumps({"auths": {world.registry.address: entry or NODE}}))
    path.chmod(0o600)


def forgetful() -> Memory:
    return Memory(access=AccessTable(trusted_for_s=0.0, grace_s=600.0))


@MODES
async def test_the_runtime_needs_no_credential_of_its_own(mode: AuthMode, tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    async with running(auth=accounts(mode), node_credentials=path) as world:
        log_in(path, world)
        image = world.add_image()
        assert (await world.head(image.by_tag, headers=RUNTIME)).status == 200
        assert (await world.get(image.by_digest, headers=RUNTIME)).body == image.body
        assert (await world.get(image.blob(), headers=RUNTIME)).body == image.blobs[0]
        # The header is this node's secret, and no registry's business.
        assert not any(NODE_HEADER in seen.headers for seen in world.registry.log)


@MODES
async def test_whoever_lacks_the_header_gets_no_more_than_without_node_mode(
    mode: AuthMode, tmp_path: Path
) -> None:
    path = tmp_path / "config.json"
    async with running(auth=accounts(mode), node_credentials=path) as world:
        log_in(path, world)
        image = world.add_image()
        assert (await world.get(image.by_tag, headers=RUNTIME)).status == 200
        assert (await world.get(image.blob(), headers=RUNTIME)).status == 200
        others: list[dict[str, str]] = [{}, {NODE_HEADER: "guessed"}, {NODE_HEADER: ""}]
        for headers in others:
            for path_ in (image.by_tag, image.by_digest, image.blob()):
                assert (await world.get(path_, headers=headers)).status == 401


async def test_a_client_that_sends_its_own_credential_has_what_that_may_read(
    tmp_path: Path,
) -> None:
    path = tmp_path / "config.json"
    async with running(auth=accounts(AuthMode.BASIC), node_credentials=path) as world:
        log_in(path, world)
        image = world.add_image()
        assert (await world.get(image.by_tag, headers=RUNTIME)).status == 200
        wrong = {**RUNTIME, "Authorization": "Basic d3Jvbmc6d3Jvbmc="}
        assert (await world.get(image.blob(), headers=wrong)).status == 401
        secret = world.add_image("secret/app", layers=(b"secret" * 100,))
        assert (await world.get(secret.by_tag, headers=RUNTIME)).status == 403
        assert (await world.get(secret.by_tag, headers={**RUNTIME, **ALICE})).status == 200


@MODES
async def test_while_the_registry_is_away_the_runtime_has_what_it_allowed_lately(
    mode: AuthMode, tmp_path: Path
) -> None:
    path = tmp_path / "config.json"
    async with running(auth=accounts(mode), node_credentials=path, memory=forgetful()) as world:
        log_in(path, world)
        image = world.add_image()
        assert (await world.get(image.by_tag, headers=RUNTIME)).status == 200
        assert (await world.get(image.blob(), headers=RUNTIME)).status == 200
        world.registry.auth.revoke_tokens()
        for fault, route in ((Disconnect(), None), (Answer(503), "token")):
            world.registry.heal()
            if mode is AuthMode.BASIC and route == "token":
                continue
            world.registry.fail(fault, route=route)
            assert (await world.get(image.by_tag, headers=RUNTIME)).status == 200
            assert (await world.get(image.by_digest, headers=RUNTIME)).body == image.body
            assert (await world.get(image.blob(), headers=RUNTIME)).body == image.blobs[0]
            assert (await world.get(image.blob())).status in (401, 404)


@MODES
async def test_a_credential_that_is_revoked_or_swapped_stops_at_once(
    mode: AuthMode, tmp_path: Path
) -> None:
    path = tmp_path / "config.json"
    async with running(auth=accounts(mode), node_credentials=path, memory=forgetful()) as world:
        log_in(path, world)
        image = world.add_image()
        assert (await world.get(image.by_tag, headers=RUNTIME)).status == 200
        world.registry.auth.accounts = {"node": Account("changed", repositories=("team/app",))}
        world.registry.auth.revoke_tokens()
        assert (await world.get(image.by_tag, headers=RUNTIME)).status == 401
        world.registry.fail(Disconnect())
        assert (await world.get(image.by_tag, headers=RUNTIME)).status == 404


async def test_the_credential_goes_to_no_realm_that_is_not_listed(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    async with running(auth=accounts(AuthMode.BEARER)) as elsewhere:
        auth = accounts(AuthMode.BEARER)
        # Another host name of loopback: the registry's own host it is not.
        auth.realm = f"{elsewhere.registry.url}/token".replace("127.0.0.1", "localhost")
        async with running(auth=auth, node_credentials=path) as world:
            log_in(path, world)
            image = world.add_image()
            answer = await world.get(image.by_tag, headers=RUNTIME)
            assert answer.status == 401
            assert elsewhere.registry.counters.requests["GET token"] == 0


async def test_a_file_that_is_not_usable_leaves_client_mode(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    async with running(auth=accounts(AuthMode.BASIC), node_credentials=path) as world:
        image = world.add_image()
        assert (await world.get(image.by_tag, headers=RUNTIME)).status == 401
        assert (await world.get(image.by_tag, headers={**RUNTIME, **ALICE})).status == 200


async def test_a_registry_that_wants_no_credential_is_shown_none(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    async with running(node_credentials=path) as world:
        log_in(path, world)
        image = world.add_image()
        assert (await world.get(image.by_tag, headers=RUNTIME)).status == 200
        assert (await world.get("/v2/", headers=RUNTIME)).status == 200
        assert not any("Authorization" in seen.headers for seen in world.registry.log)


async def test_nothing_of_the_credential_is_in_what_the_registry_is_not_shown(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "config.json"
    caplog.set_level("DEBUG")
    async with running(auth=accounts(AuthMode.BASIC), node_credentials=path) as world:
        log_in(path, world, username="node", password="guessed")
        image = world.add_image()
        answer = await world.get(image.by_tag, headers=RUNTIME)
        assert answer.status == 401
        text = f"{answer.headers} {answer.body!r} {caplog.text}"
        assert "guessed" not in text
        assert base64.b64encode(b"node:guessed").decode() not in text
