"""The registry client: which registries it asks, and small answers."""

import asyncio

import pytest

from shoal.adapters.origin.client import OriginClient
from shoal.adapters.origin.config import RegistryConfig
from shoal.core.digest import Digest
from shoal.core.errors import OriginError, OriginLied, SettingsError
from shoal.core.oci.challenges import parse_challenges
from shoal.core.oci.manifests import DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST, parse_manifest
from shoal.testing.registry import EmbeddedRegistry
from shoal.testing.registry_auth import Account, AuthMode, RegistryAuth
from shoal.testing.registry_faults import (
    Answer,
    Disconnect,
    Drip,
    Fault,
    Hang,
    Oversize,
    Redirect,
    Stall,
    WithHeaders,
)
from unit.adapters.origin.asking import BLOB, Right, fetched, spec_of


async def test_a_registry_is_known_by_its_name_and_aliases_only() -> None:
    hub = RegistryConfig("registry-1.docker.io")
    own = RegistryConfig("r.example.com:5000", aliases=("r-vpc.example.com",))
    async with OriginClient([hub, own]) as client:
        for name in ("docker.io", "index.docker.io", "Registry-1.docker.io"):
            assert client.registry_for(name) is hub
        for name in ("r.example.com:5000", "R.EXAMPLE.com:5000", "r-vpc.example.com"):
            assert client.registry_for(name) is own
        for name in ("r.example.com", "evil.example", "", "a/b", "../x", "r.example.com:5000\n"):
            assert client.registry_for(name) is None
    assert hub.url == "https://registry-1.docker.io"


async def test_two_registries_may_not_share_a_name() -> None:
    with pytest.raises(SettingsError, match=r"a\.example.*b\.example.*both claim"):
        OriginClient(
            [RegistryConfig("a.example"), RegistryConfig("b.example", aliases=("a.example",))]
        )


async def test_a_registry_that_is_not_configured_is_never_asked(registry: EmbeddedRegistry) -> None:
    async with OriginClient([RegistryConfig("other.example")]) as client:
        with pytest.raises(OriginError, match="not configured"):
            await client.ask(registry.config(), "GET", "/v2/", headers={})
        with pytest.raises(OriginError, match="not configured"):
            await fetched(client, spec_of(registry), 0, 10)
    assert not registry.log


async def test_a_manifest_is_had_by_tag_and_by_digest(
    client: OriginClient, registry: EmbeddedRegistry
) -> None:
    digest = registry.content.add_image("team/app", "1", [BLOB])
    headers = {"Accept": OCI_MANIFEST}
    by_tag = await client.ask(registry.config(), "GET", "/v2/team/app/manifests/1", headers=headers)
    by_digest = await client.ask(
        registry.config(), "GET", f"/v2/team/app/manifests/{digest}", headers=headers
    )
    head = await client.ask(registry.config(), "HEAD", "/v2/team/app/manifests/1", headers=headers)
    assert by_tag.status == by_digest.status == head.status == 200
    assert by_tag.body == by_digest.body
    assert head.body == b""
    assert head.headers["content-length"] == str(len(by_tag.body))
    assert head.headers["docker-content-digest"] == str(digest)
    assert len(parse_manifest(by_tag.body, by_tag.headers["Content-Type"]).layers) == 1


async def test_tags_referrers_and_ping_are_passed_on(
    client: OriginClient, registry: EmbeddedRegistry
) -> None:
    registry.content.add_image("team/app", "1", [BLOB])
    config = registry.config()
    tags = await client.ask(config, "GET", "/v2/team/app/tags/list?n=5", headers={})
    assert tags.body == b'{"name": "team/app", "tags": ["1"]}'
    assert registry.log[-1].path.endswith("?n=5")
    path = f"/v2/team/app/referrers/{Digest('sha256', '0' * 64)}"
    assert (await client.ask(config, "GET", path, headers={})).headers["Content-Type"] == OCI_INDEX
    assert (await client.ask(config, "GET", "/v2/", headers={})).status == 200


async def test_every_status_is_passed_on_with_its_headers(
    client: OriginClient, registry: EmbeddedRegistry
) -> None:
    config = registry.config()
    missing = await client.ask(config, "GET", "/v2/team/app/manifests/none", headers={})
    assert (missing.status, b"MANIFEST_UNKNOWN" in missing.body) == (404, True)
    registry.fail(Answer(429, {"Retry-After": "7"}), route="ping")
    busy = await client.ask(config, "GET", "/v2/", headers={})
    assert (busy.status, busy.retry_after_s) == (429, 7.0)


async def test_a_challenge_is_passed_on_and_credentials_reach_the_registry() -> None:
    auth = RegistryAuth(AuthMode.BASIC, {"me": Account("secret")})
    async with (
        EmbeddedRegistry(auth=auth) as registry,
        OriginClient([registry.config()]) as client,
    ):
        refused = await client.ask(registry.config(), "GET", "/v2/", headers={})
        assert refused.status == 401
        (challenge,) = parse_challenges(refused.headers.getall("WWW-Authenticate"))
        assert challenge.scheme == "basic"
        headers = {"authorization": "Basic bWU6c2VjcmV0", "Cookie": "a=b", "X-Trace": "1"}
        assert (await client.ask(registry.config(), "GET", "/v2/", headers=headers)).status == 200
        seen = registry.log[-1].headers
        assert "Cookie" not in seen
        assert "X-Trace" not in seen
        assert seen["Accept-Encoding"] == "identity"


async def test_a_manifest_over_the_bound_is_a_lie_and_an_error_page_over_it_is_left_out(
    client: OriginClient, registry: EmbeddedRegistry
) -> None:
    registry.content.add_image("team/app", "1", [BLOB])
    registry.fail(Oversize(), route="manifests", times=1)
    with pytest.raises(OriginLied, match="longer than 4194304 bytes"):
        await client.ask(registry.config(), "GET", "/v2/team/app/manifests/1", headers={})
    registry.fail(Answer(502, body=b"x" * 200_000), route="ping")
    answer = await client.ask(registry.config(), "GET", "/v2/", headers={}, max_body_bytes=100_000)
    assert (answer.status, answer.body) == (502, b"")


async def test_the_type_that_the_registry_claims_is_passed_on_for_the_parser_to_judge(
    client: OriginClient, registry: EmbeddedRegistry
) -> None:
    registry.content.add_image("team/app", "1", [BLOB])
    registry.fail(WithHeaders({"Content-Type": DOCKER_MANIFEST}), route="manifests")
    answer = await client.ask(registry.config(), "GET", "/v2/team/app/manifests/1", headers={})
    assert answer.headers["Content-Type"] == DOCKER_MANIFEST


@pytest.mark.parametrize(
    ("fault", "complaint"),
    [
        (Hang(), "no answer from http://127"),
        (Disconnect(), "closed the connection"),
        (Redirect(), "more than 5 redirects"),
        (Redirect("http://u:p@127.0.0.1/x"), "holds credentials"),
        (Redirect("ftp://127.0.0.1/x"), "no http or https URL"),
        (Redirect("http://[::1"), "malformed URL"),
        (Redirect("http://é/"), "malformed URL"),
    ],
)
async def test_no_answer_is_an_error_that_names_the_cause(
    hasty_client: OriginClient, registry: EmbeddedRegistry, fault: Fault, complaint: str
) -> None:
    registry.fail(fault, route="ping")
    with pytest.raises(OriginError, match=complaint) as caught:
        await hasty_client.ask(registry.config(), "GET", "/v2/", headers={})
    assert not isinstance(caught.value, OriginLied)


@pytest.mark.parametrize("fault", [Drip(0.05), Stall(5)])
async def test_a_body_that_does_not_move_is_given_up(
    hasty_client: OriginClient, registry: EmbeddedRegistry, fault: Fault
) -> None:
    registry.content.add_image("team/app", "1", [BLOB])
    registry.fail(fault, route="manifests")
    with pytest.raises(OriginError, match=r"only \d+ bytes in 0.3 s"):
        await hasty_client.ask(registry.config(), "GET", "/v2/team/app/manifests/1", headers={})


async def test_a_registry_that_is_not_there_is_an_error_that_says_so() -> None:
    async with EmbeddedRegistry() as registry:
        config = registry.config()
    async with OriginClient([config]) as client:
        with pytest.raises(OriginError, match=f"cannot connect to {config.url}"):
            await client.ask(config, "GET", "/v2/", headers={})
    nowhere = RegistryConfig("no-such-host.invalid")
    async with OriginClient([nowhere]) as client:
        with pytest.raises(OriginError, match="cannot resolve the name"):
            await client.ask(nowhere, "GET", "/v2/", headers={})


@pytest.mark.parametrize("path", ["/token", "http://evil/v2/", "/v2/a b", "/v2/\r\nX: y", "/v2/é"])
async def test_a_path_outside_the_api_is_a_mistake_of_the_caller(
    client: OriginClient, registry: EmbeddedRegistry, path: str
) -> None:
    with pytest.raises(ValueError, match="path"):
        await client.ask(registry.config(), "GET", path, headers={})


@pytest.mark.parametrize("status", [429, 503])
async def test_a_registry_that_asks_to_be_left_alone_is_not_asked_for_that_blob_again(
    client: OriginClient, registry: EmbeddedRegistry, status: int
) -> None:
    spec = spec_of(registry)
    registry.fail(Answer(status, {"Retry-After": "3600"}), route="blobs", times=1)
    for _ in range(3):
        with pytest.raises(OriginError) as caught:
            await fetched(client, spec, 0, len(BLOB))
        assert caught.value.retry_after_s is not None
        assert 3500 < caught.value.retry_after_s <= 3600
    assert len(registry.log) == 1
    # Nor is what it would give kept from others.
    assert await fetched(client, spec, 0, 10, Right(authorization="Basic other")) == BLOB[:10]
    assert await fetched(client, spec_of(registry, b"another"), 0, 7) == b"another"


async def test_a_registry_is_asked_again_once_its_time_is_over(
    client: OriginClient, registry: EmbeddedRegistry
) -> None:
    spec = spec_of(registry)
    registry.fail(Answer(429, {"Retry-After": "1"}), route="blobs", times=1)
    with pytest.raises(OriginError):
        await fetched(client, spec, 0, 10)
    await asyncio.sleep(1.01)  # the header has whole seconds
    assert await fetched(client, spec, 0, 10) == BLOB[:10]
