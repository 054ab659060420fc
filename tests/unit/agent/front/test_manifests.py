"""ManifestAnswers: tags are the registry's, digests are content."""

import asyncio
import json
import time

import pytest

from shoal.agent.front.answers import Cause
from shoal.agent.front.limits import FrontLimits
from shoal.agent.front.memory import Memory
from shoal.core.oci.manifests import OCI_INDEX, OCI_MANIFEST
from shoal.core.trust.access import AccessTable
from shoal.testing.registry_faults import (
    Answer,
    Disconnect,
    Hang,
    Oversize,
    WithHeaders,
    WrongBytes,
)
from unit.agent.front.conftest import ALICE, BOB, SOON_S, WRONG, World, running, until


async def test_a_head_by_tag_has_what_containerd_needs(world: World) -> None:
    image = world.add_image()
    answer = await world.head(image.by_tag)
    assert answer.status == 200
    assert answer.headers["Docker-Content-Digest"] == str(image.digest)
    assert answer.headers["Content-Type"] == OCI_MANIFEST
    assert answer.headers["Content-Length"] == str(len(image.body))
    assert world.transfers.opened == []


async def test_a_tag_is_asked_of_the_registry_every_time(world: World) -> None:
    first = world.add_image()
    assert (await world.get(first.by_tag)).body == first.body
    second = world.add_image(layers=(b"moved",))
    assert (await world.get(first.by_tag)).body == second.body
    answer = await world.head(first.by_tag)
    assert answer.headers["Docker-Content-Digest"] == str(second.digest)


async def test_what_a_client_accepts_is_passed_on(world: World) -> None:
    image = world.add_image()
    await world.get(image.by_tag, headers={"Accept": f"{OCI_INDEX}, {OCI_MANIFEST}"})
    assert world.registry.log[-1].headers["Accept"] == f"{OCI_INDEX}, {OCI_MANIFEST}"


async def test_after_the_tag_a_digest_comes_from_transfers(world: World) -> None:
    image = world.add_image()
    await world.head(image.by_tag)
    asked = world.requests()
    answer = await world.get(image.by_digest)
    assert (answer.status, answer.body) == (200, image.body)
    assert answer.headers["Content-Type"] == OCI_MANIFEST
    assert world.requests() == asked
    head = await world.head(image.by_digest)
    assert head.headers["Content-Length"] == str(len(image.body))
    assert world.requests() == asked


async def test_without_a_yes_a_digest_is_asked_of_the_registry(world: World) -> None:
    image = world.add_image()
    answer = await world.get(image.by_digest)
    assert (answer.status, answer.body) == (200, image.body)
    assert world.registry.counters.requests["GET manifests"] == 1
    assert world.transfers.opened == []


@pytest.mark.parametrize("how", ["wrong", "stuck", "missing"])
async def test_what_transfers_cannot_give_is_asked_of_the_registry(how: str) -> None:
    async with running(limits=FrontLimits(swarm_manifest_s=0.2)) as world:
        image = world.add_image()
        await world.head(image.by_tag)
        if how == "wrong":
            world.transfers.add(image.digest, image.body.replace(b"2", b"3", 1))
        elif how == "stuck":
            world.transfers.arrive(image.digest, 0)
        else:
            world.transfers.close()
        answer = await world.get(image.by_digest)
        assert (answer.status, answer.body) == (200, image.body)
        assert world.metrics.causes == [Cause.TRANSFER_FAILED]


async def test_an_index_lets_its_children_be_read_from_transfers(world: World) -> None:
    image = world.add_image()
    index = {
        "schemaVersion": 2,
        "mediaType": OCI_INDEX,
        "manifests": [
            {"mediaType": OCI_MANIFEST, "digest": str(image.digest), "size": len(image.body)}
        ],
    }
    world.registry.add_manifest("team/app", "multi", json.dumps(index).encode(), OCI_INDEX)
    answer = await world.get("/v2/team/app/manifests/multi")
    assert answer.headers["Content-Type"] == OCI_INDEX
    asked = world.requests()
    child = await world.get(image.by_digest)
    assert (child.body, child.headers["Content-Type"]) == (image.body, OCI_MANIFEST)
    assert (await world.get(image.blob())).body == image.blobs[0]
    assert world.requests() == asked


async def test_a_private_manifest_needs_the_right_credential(private: World) -> None:
    image = private.add_image()
    for path in (image.by_tag, image.by_digest):
        for wrong, status in (({}, 401), (WRONG, 401), (BOB, 403)):
            assert (await private.get(path, headers=wrong)).status == status
        assert (await private.get(path, headers=ALICE)).body == image.body
    assert (await private.get(image.by_digest)).status == 401
    assert (await private.get(image.by_digest, headers=BOB)).status == 403
    refused = await private.head(image.by_tag)
    assert refused.status == 401
    assert refused.headers["WWW-Authenticate"].startswith("Basic ")


async def test_a_missing_tag_is_a_404(world: World) -> None:
    world.add_image()
    assert (await world.get("/v2/team/app/manifests/none")).status == 404


@pytest.mark.parametrize(
    "fault",
    [
        Answer(429, headers={"Retry-After": "30"}),
        Answer(500),
        Answer(503),
        Oversize(5 * 1024 * 1024),
        WrongBytes(at=3),
        WithHeaders({"Content-Type": "text/html"}),
    ],
)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_a_registry_in_trouble_or_lying_is_a_404(
    world: World, fault: Answer | Oversize | WrongBytes | WithHeaders, method: str
) -> None:
    image = world.add_image()
    world.registry.fail(fault, route="manifests")
    answer = await world.ask(method, image.by_tag)
    if isinstance(fault, WrongBytes) and method == "HEAD":
        assert answer.status == 200  # nothing but headers: nothing is wrong yet
        return
    assert answer.status == 404
    assert world.metrics.causes[-1] in (Cause.REGISTRY_UNAVAILABLE, Cause.CONTENT_WRONG)
    assert (await world.get(image.blob())).status == 200  # others are not harmed


async def test_a_registry_that_leaves_out_headers_is_asked_for_the_whole(world: World) -> None:
    image = world.add_image()
    world.registry.fail(
        WithHeaders({"Content-Type": "application/json"}), route="manifests", method="HEAD"
    )
    answer = await world.head(image.by_tag)
    assert answer.status == 200
    assert answer.headers["Content-Type"] == OCI_MANIFEST
    assert answer.headers["Docker-Content-Digest"] == str(image.digest)
    assert answer.headers["Content-Length"] == str(len(image.body))
    assert answer.body == b""


async def test_during_an_outage_the_last_manifest_of_a_tag_is_served_and_marked(
    private: World,
) -> None:
    image = private.add_image()
    assert (await private.head(image.by_tag, headers=ALICE)).status == 200
    await private.registry.stop()
    head = await private.head(image.by_tag, headers=ALICE)
    assert head.status == 200
    assert head.headers["Warning"].startswith("110 ")
    answer = await private.get(image.by_tag, headers=ALICE)
    assert (answer.body, answer.headers["Warning"][:4]) == (image.body, "110 ")
    assert (await private.get(image.by_digest, headers=ALICE)).body == image.body
    assert (await private.get(image.blob(), headers=ALICE)).body == image.blobs[0]
    for other in ({}, WRONG, BOB):
        assert (await private.get(image.by_tag, headers=other)).status == 404
        assert (await private.get(image.by_digest, headers=other)).status == 404


async def test_a_lapsed_yes_serves_only_while_the_registry_is_away() -> None:
    async with running(memory=Memory(access=AccessTable(trusted_for_s=0.0, grace_s=60.0))) as world:
        image = world.add_image()
        assert (await world.get(image.by_tag)).status == 200
        assert (await world.get(image.blob())).status == 200
        assert world.registry.counters.requests["HEAD blobs"] == 1  # asked again
        await world.registry.stop()
        assert (await world.get(image.blob())).body == image.blobs[0]
        assert (await world.get(image.by_digest)).body == image.body


async def test_a_stale_tag_is_not_served_where_the_setting_says_no() -> None:
    async with running(serve_stale_tags=False) as world:
        image = world.add_image()
        assert (await world.get(image.by_tag)).status == 200
        await world.registry.stop()
        assert (await world.get(image.by_tag)).status == 404


async def test_a_tag_that_the_registry_dropped_is_not_served_later(world: World) -> None:
    image = world.add_image()
    assert (await world.get(image.by_tag)).status == 200
    world.registry.content.repository("team/app").tags.clear()
    assert (await world.get(image.by_tag)).status == 404
    await world.registry.stop()
    assert (await world.get(image.by_tag)).status == 404


async def test_a_registry_that_never_answers_is_a_404_in_time(hasty: World) -> None:
    image = hasty.add_image()
    hasty.registry.fail(Hang(), route="manifests")
    began_s = time.monotonic()
    assert (await hasty.head(image.by_tag)).status == 404
    assert (await hasty.get(image.by_digest)).status == 404
    assert time.monotonic() - began_s < SOON_S


async def test_a_hanging_registry_does_not_keep_a_known_tag_from_being_served(hasty: World) -> None:
    image = hasty.add_image()
    assert (await hasty.head(image.by_tag)).status == 200
    hasty.registry.fail(Hang(), route="manifests")
    answer = await hasty.get(image.by_tag)
    assert (answer.status, answer.body) == (200, image.body)
    assert answer.headers["Warning"].startswith("110 ")


async def test_while_the_registry_is_away_peers_have_longer_to_give_a_manifest() -> None:
    async with running(limits=FrontLimits(swarm_manifest_s=0.05)) as world:
        image = world.add_image()
        assert (await world.head(image.by_tag)).status == 200
        world.transfers.arrive(image.digest, 0)
        world.registry.fail(Disconnect())
        asking = asyncio.ensure_future(world.get(image.by_digest))
        await until(lambda: len(world.transfers.opened) == 2)  # the second time is the long one
        world.transfers.arrive(image.digest, len(image.body))
        answer = await asking
        assert (answer.status, answer.body) == (200, image.body)
