"""Place: one repository, asked as containerd asks, with proof of who asks where it is wanted."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from shoal.adapters.origin.client import OriginClient
from shoal.adapters.origin.config import RegistryConfig
from shoal.adapters.origin.docker_config import Credentials
from shoal.cli.pulling.failures import NotFound
from shoal.cli.pulling.place import Place, may_pass
from shoal.core.errors import OriginDenied, OriginError
from shoal.core.reference import Reference
from shoal.testing.registry import EmbeddedRegistry
from shoal.testing.registry_auth import Account, AuthMode, RegistryAuth
from shoal.testing.registry_faults import Answer

RIGHT = Credentials("user", "right")
ACCOUNTS = {"user": Account("right")}
REGISTRY = "registry.example.com:5000"


@asynccontextmanager
async def agent_and_registry(
    front: EmbeddedRegistry, credentials: Credentials | None = None
) -> AsyncIterator[tuple[Place, Place]]:
    reference = Reference.parse(f"{REGISTRY}/team/app")
    itself = RegistryConfig(name=REGISTRY, url=front.url, plain_http=True)
    async with OriginClient([itself]) as one, OriginClient([itself]) as other:
        registry = Place(reference, client=one, config=itself, find_credentials=lambda: credentials)
        agent = Place(
            reference,
            client=other,
            config=itself,
            realms=registry,
            find_credentials=lambda: credentials,
        )
        yield agent, registry


async def test_an_agent_is_told_which_registry_is_meant_and_a_registry_is_not() -> None:
    async with EmbeddedRegistry() as front:
        front.content.add_image("team/app", "latest", [])
        async with agent_and_registry(front) as (agent, registry):
            await agent.ask("GET", "manifests/latest", headers={})
            await registry.ask("GET", "manifests/latest", headers={})
    paths = [seen.path for seen in front.log]
    assert paths == [
        "/v2/team/app/manifests/latest?ns=registry.example.com%3A5000",
        "/v2/team/app/manifests/latest",
    ]


@pytest.mark.parametrize("mode", [AuthMode.BASIC, AuthMode.BEARER])
async def test_credentials_are_shown_when_asked_for_and_then_at_once(mode: AuthMode) -> None:
    async with EmbeddedRegistry(auth=RegistryAuth(mode, ACCOUNTS)) as front:
        digest = front.add_blob(b"layer", repository="team/app")
        async with agent_and_registry(front, RIGHT) as (agent, _):
            for _ in range(2):
                async with agent.stream(f"blobs/{digest}", headers={}) as answer:
                    assert b"".join([chunk async for chunk in answer.chunks]) == b"layer"
            await agent.ask("HEAD", f"blobs/{digest}", headers={})
    assert front.counters.requests["GET blobs"] == 3
    assert front.counters.requests["HEAD blobs"] == 1


@pytest.mark.parametrize("mode", [AuthMode.BASIC, AuthMode.BEARER])
@pytest.mark.parametrize("credentials", [None, Credentials("user", "wrong")])
async def test_no_or_wrong_credentials_are_a_denial_that_says_what_to_do(
    mode: AuthMode, credentials: Credentials | None
) -> None:
    async with EmbeddedRegistry(auth=RegistryAuth(mode, ACCOUNTS)) as front:
        front.content.add_image("team/app", "latest", [])
        async with agent_and_registry(front, credentials) as (agent, _):
            with pytest.raises(OriginDenied) as caught:
                await agent.ask("GET", "manifests/latest", headers={})
    assert "docker login registry.example.com:5000" in str(caught.value)
    assert "wrong" not in str(caught.value).replace("wrong user name", "")


@pytest.mark.parametrize(
    ("status", "error"),
    [(404, NotFound), (403, OriginDenied), (500, OriginError), (302, OriginError)],
)
async def test_other_answers_are_errors_that_name_agent_and_path(
    status: int, error: type[Exception]
) -> None:
    async with EmbeddedRegistry() as front:
        front.fail(Answer(status))
        async with agent_and_registry(front) as (agent, _):
            with pytest.raises(
                error, match=rf"agent {front.url}: GET manifests/x: answered {status}"
            ):
                await agent.ask("GET", "manifests/x", headers={})
            with pytest.raises(error, match=str(status)):
                async with agent.stream("manifests/x", headers={}):
                    pass


async def test_a_realm_is_asked_by_the_registrys_rules_not_the_agents() -> None:
    auth = RegistryAuth(AuthMode.BEARER, ACCOUNTS, realm="http://realm.example.com/token")
    async with EmbeddedRegistry(auth=auth) as front:
        front.content.add_image("team/app", "latest", [])
        reference = Reference.parse(f"{REGISTRY}/team/app")
        direct = RegistryConfig(name=REGISTRY)
        via = RegistryConfig(name=REGISTRY, url=front.url, plain_http=True)
        async with OriginClient([direct]) as one, OriginClient([via]) as other:
            registry = Place(reference, client=one, config=direct, find_credentials=lambda: RIGHT)
            agent = Place(
                reference,
                client=other,
                config=via,
                realms=registry,
                find_credentials=lambda: RIGHT,
            )
            with pytest.raises(OriginError, match="not encrypted"):
                await agent.ask("GET", "manifests/latest", headers={})


@pytest.mark.parametrize(
    ("status", "passes"), [(None, True), (429, True), (503, True), (400, False), (200, False)]
)
def test_only_what_may_be_otherwise_in_a_moment_is_tried_again(
    status: int | None, passes: bool
) -> None:
    assert may_pass(OriginError("x", status=status)) is passes
    assert not may_pass(OriginDenied("x", status=status))
