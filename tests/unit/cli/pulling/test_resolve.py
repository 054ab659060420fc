"""resolve: from a reference to the manifest of one platform, every digest checked."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from shoal.adapters.layout.base import Image
from shoal.adapters.origin.client import OriginClient
from shoal.adapters.origin.config import RegistryConfig
from shoal.cli.pulling.failures import DataWrong, NotFound
from shoal.cli.pulling.place import Place
from shoal.cli.pulling.platforms import parse_platform
from shoal.cli.pulling.resolve import resolve
from shoal.core.digest import Digest
from shoal.core.errors import OriginError
from shoal.core.oci.manifests import OCI_INDEX, OCI_MANIFEST
from shoal.core.reference import Reference
from shoal.testing.registry import EmbeddedRegistry
from shoal.testing.registry_faults import Answer, WithHeaders, WrongBytes

ARM = parse_platform("linux/arm64")


@pytest.fixture
async def registry() -> AsyncIterator[EmbeddedRegistry]:
    async with EmbeddedRegistry() as registry:
        yield registry


@asynccontextmanager
async def place_of(registry: EmbeddedRegistry, reference: Reference) -> AsyncIterator[Place]:
    config = RegistryConfig(name=reference.registry, url=registry.url, plain_http=True)
    async with OriginClient([config]) as client:
        yield Place(reference, client=client, config=config, find_credentials=lambda: None)


async def resolved(
    registry: EmbeddedRegistry, name: str = "r.example.com/app", warnings: list[str] | None = None
) -> Image:
    reference = Reference.parse(name)
    said = [] if warnings is None else warnings
    async with place_of(registry, reference) as place:
        return await resolve(place, reference, platform=ARM, warn=said.append)


def add_index(
    registry: EmbeddedRegistry, children: dict[str, Digest], tag: str = "latest"
) -> Digest:
    manifests = []
    for platform, digest in children.items():
        found = registry.content.manifest("app", digest)
        assert found is not None
        os_, architecture = platform.split("/")
        manifests.append(
            {
                "mediaType": found[1].media_type,
                "digest": str(digest),
                "size": len(found[1].body),
                "platform": {"os": os_, "architecture": architecture},
            }
        )
    body = json.dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": manifests})
    return registry.add_manifest("app", tag, body.encode(), OCI_INDEX)


async def test_a_tag_is_asked_for_as_containerd_does(registry: EmbeddedRegistry) -> None:
    digest = registry.content.add_image("app", "latest", [b"layer"])
    image = await resolved(registry)
    assert image.digest == digest
    assert [(seen.method, seen.path) for seen in registry.log] == [
        ("HEAD", "/v2/app/manifests/latest"),
        ("GET", f"/v2/app/manifests/{digest}"),
    ]


async def test_a_digest_is_asked_for_at_once(registry: EmbeddedRegistry) -> None:
    digest = registry.content.add_image("app", "latest", [b"layer"])
    assert (await resolved(registry, f"r.example.com/app:old@{digest}")).digest == digest
    assert [seen.method for seen in registry.log] == ["GET"]


async def test_the_platforms_image_is_taken_from_an_index_in_an_index(
    registry: EmbeddedRegistry,
) -> None:
    arm = registry.content.add_image("app", "arm", [b"arm"])
    intel = registry.content.add_image("app", "intel", [b"intel"])
    inner = add_index(registry, {"linux/amd64": intel, "linux/arm64": arm}, "inner")
    add_index(registry, {"linux/arm64": inner})
    image = await resolved(registry)
    assert image.digest == arm
    assert str(image.platform) == "linux/arm64"


async def test_what_else_there_is_is_said_where_the_platform_is_not(
    registry: EmbeddedRegistry,
) -> None:
    other = registry.content.add_image("app", "intel", [b"intel"])
    add_index(registry, {"linux/amd64": other, "unknown/unknown": other})
    with pytest.raises(NotFound, match=r"nothing for linux/arm64/v8; it has linux/amd64$"):
        await resolved(registry)


@pytest.mark.parametrize("headers", [{"Docker-Content-Digest": ""}])
async def test_a_head_that_names_no_digest_is_followed_by_a_get_of_the_tag(
    registry: EmbeddedRegistry, headers: dict[str, str]
) -> None:
    digest = registry.content.add_image("app", "latest", [b"layer"])
    registry.fail(WithHeaders(headers), route="manifests")
    assert (await resolved(registry)).digest == digest
    assert registry.log[-1].path == "/v2/app/manifests/latest"


async def test_a_head_that_is_not_allowed_is_followed_by_a_get(registry: EmbeddedRegistry) -> None:
    digest = registry.content.add_image("app", "latest", [b"layer"])
    registry.fail(Answer(405), method="HEAD")
    assert (await resolved(registry)).digest == digest


async def test_wrong_bytes_are_not_taken_for_the_manifest(registry: EmbeddedRegistry) -> None:
    registry.content.add_image("app", "latest", [b"layer"])
    registry.fail(WrongBytes(20), route="manifests")
    with pytest.raises(DataWrong, match="not what its digest"):
        await resolved(registry)


@pytest.mark.parametrize("body", [b"[]", b'{"schemaVersion": 1}', b"\xff"])
async def test_what_is_no_manifest_is_data_that_is_wrong(
    registry: EmbeddedRegistry, body: bytes
) -> None:
    registry.add_manifest("app", "latest", body, OCI_MANIFEST)
    with pytest.raises(DataWrong):
        await resolved(registry)


async def test_a_hiccup_is_tried_again_and_an_outage_is_not_for_ever(
    registry: EmbeddedRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shoal.cli.pulling.place._PAUSES_S", (0.0,))
    digest = registry.content.add_image("app", "latest", [b"layer"])
    registry.fail(Answer(503), times=2)
    assert (await resolved(registry)).digest == digest
    registry.fail(Answer(503))
    registry.log.clear()
    with pytest.raises(OriginError, match="503"):
        await resolved(registry)
    assert len(registry.log) == 3


async def test_a_tag_from_memory_is_said_to_be_so(registry: EmbeddedRegistry) -> None:
    registry.content.add_image("app", "latest", [b"layer"])
    registry.fail(WithHeaders({"Warning": '110 shoal "stale"'}), method="HEAD")
    warnings: list[str] = []
    await resolved(registry, warnings=warnings)
    assert len(warnings) == 1
    assert "cannot be reached" in warnings[0]


async def test_an_unknown_tag_is_not_found(registry: EmbeddedRegistry) -> None:
    with pytest.raises(NotFound):
        await resolved(registry)
