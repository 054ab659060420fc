"""BlobAnswers: access first, then right bytes or none."""

import asyncio
import hashlib
import json
import time
from dataclasses import replace

import aiohttp
import pytest

from shoal.agent.front.answers import Cause
from shoal.core.digest import Digest
from shoal.core.errors import StoreFull, TransferFailed
from shoal.core.oci.manifests import OCI_MANIFEST
from shoal.testing.registry_faults import Answer, Hang, Unframed, WrongBytes
from unit.agent.front.conftest import ALICE, BOB, HASTY, SOON_S, WRONG, World, running, until


async def test_a_blob_comes_whole_with_the_headers_that_runtimes_need(world: World) -> None:
    image = world.add_image()
    answer = await world.get(image.blob())
    assert (answer.status, answer.body) == (200, image.blobs[0])
    assert answer.headers["Content-Length"] == str(len(image.blobs[0]))
    assert answer.headers["Content-Type"] == "application/octet-stream"
    assert answer.headers["Docker-Content-Digest"] == str(image.layers[0])
    assert answer.headers["Accept-Ranges"] == "bytes"
    assert answer.headers["ETag"] == f'"{image.layers[0]}"'
    assert world.metrics.sent_bytes == len(image.blobs[0])


async def test_no_encoding_is_applied_whatever_the_client_takes(world: World) -> None:
    image = world.add_image()
    headers = {"Accept-Encoding": "zstd, gzip, deflate"}
    answer = await world.get(image.blob(), headers=headers)
    assert "Content-Encoding" not in answer.headers
    assert answer.body == image.blobs[0]


async def test_a_listed_blob_is_served_without_another_question(world: World) -> None:
    image = world.add_image()
    assert (await world.get(image.by_tag)).status == 200
    asked = world.requests()
    for index, blob in enumerate(image.blobs):
        assert (await world.get(image.blob(index))).body == blob
    assert world.requests() == asked


async def test_a_head_answers_without_starting_a_transfer(world: World) -> None:
    image = world.add_image()
    answer = await world.head(image.blob())
    assert answer.status == 200
    assert answer.headers["Content-Length"] == str(len(image.blobs[0]))
    assert world.transfers.opened == []


@pytest.mark.parametrize(
    ("asked", "first", "last"),
    [
        ("bytes=0-", 0, 9999),
        ("bytes=5-9", 5, 9),
        ("bytes=-3", 9997, 9999),
        ("bytes=9-99999999", 9, 9999),
    ],
)
async def test_a_range_is_a_206(world: World, asked: str, first: int, last: int) -> None:
    image = world.add_image()
    answer = await world.get(image.blob(), headers={"Range": asked})
    assert answer.status == 206
    assert answer.body == image.blobs[0][first : last + 1]
    assert answer.headers["Content-Range"] == f"bytes {first}-{last}/10000"


@pytest.mark.parametrize(
    ("asked", "status"),
    [
        ("bytes=10000-", 416),
        ("bytes=9-3", 416),
        ("bytes=" + "9" * 400 + "-", 416),
        ("bytes=-", 416),
        ("bytes=0-1,0-1,0-1", 400),
        ("lines=1-2", 200),
    ],
)
async def test_an_absurd_range_has_a_clear_status(world: World, asked: str, status: int) -> None:
    image = world.add_image()
    answer = await world.get(image.blob(), headers={"Range": asked})
    assert answer.status == status
    if status == 416:
        assert answer.headers["Content-Range"] == "bytes */10000"
    if status != 200:
        assert world.transfers.opened == []


async def test_a_range_for_another_version_means_the_whole(world: World) -> None:
    image = world.add_image()
    headers = {"Range": "bytes=5-9", "If-Range": '"another"'}
    assert (await world.get(image.blob(), headers=headers)).status == 200
    headers["If-Range"] = f'"{image.layers[0]}"'
    assert (await world.get(image.blob(), headers=headers)).status == 206


async def test_a_client_that_has_the_blob_is_told_so(world: World) -> None:
    image = world.add_image()
    headers = {"If-None-Match": f'"{image.layers[0]}"'}
    assert (await world.get(image.blob(), headers=headers)).status == 304


async def test_an_empty_blob_is_answered_at_once(world: World) -> None:
    digest = world.registry.add_blob(b"", repository="team/app")
    answer = await world.get(f"/v2/team/app/blobs/{digest}", headers={"Range": "bytes=0-"})
    assert (answer.status, answer.body, answer.headers["Content-Length"]) == (200, b"", "0")
    assert world.transfers.opened == []


async def test_bytes_flow_while_the_blob_still_arrives(world: World) -> None:
    image = world.add_image()
    data, digest = image.blobs[0], image.layers[0]
    world.transfers.arrive(digest, 4000)
    async with world.session.get(world.url(image.blob())) as response:
        assert await response.content.readexactly(4000) == data[:4000]
        world.transfers.arrive(digest, 10_000)
        assert await response.content.read() == data[4000:]


async def test_nothing_readable_is_a_404_within_the_bound(hasty: World) -> None:
    image = hasty.add_image()
    hasty.transfers.arrive(image.layers[0], 0)
    began_s = time.monotonic()
    assert (await hasty.get(image.blob())).status == 404
    assert 0.3 < time.monotonic() - began_s < SOON_S
    assert hasty.metrics.causes == [Cause.TRANSFER_FAILED]


async def test_a_blob_whose_pieces_still_arrive_is_waited_for() -> None:
    async with running(limits=replace(HASTY, ask_s=30.0, progress_s=1.0)) as world:
        image = world.add_image()
        digest = image.layers[0]
        world.transfers.arrive(digest, 0)
        answering = asyncio.ensure_future(world.get(image.blob()))
        await until(lambda: bool(world.transfers.opened))
        for _ in range(20):  # 2 s, twice the bound without progress
            await asyncio.sleep(0.1)
            world.transfers.trickle(digest, size_bytes=10_000)
        world.transfers.arrive(digest, 10_000)
        assert (await answering).body == image.blobs[0]


async def test_a_failure_before_the_first_byte_is_a_404(world: World) -> None:
    image = world.add_image()
    world.transfers.arrive(image.layers[0], 0)
    world.transfers.fail(image.layers[0])
    answer = await world.get(image.blob())
    assert answer.status == 404
    world.transfers.fail_open(TransferFailed("told so"))
    assert (await world.get(image.blob(1))).status == 404


async def test_a_failure_after_the_headers_cuts_and_a_range_resumes(world: World) -> None:
    image = world.add_image()
    data, digest = image.blobs[0], image.layers[0]
    world.transfers.arrive(digest, 4000)
    async with world.session.get(world.url(image.blob())) as response:
        assert response.headers["Content-Length"] == "10000"
        assert await response.content.readexactly(4000) == data[:4000]
        world.transfers.fail(digest)
        with pytest.raises(aiohttp.ClientPayloadError):
            await response.content.read()
    assert world.metrics.causes == [Cause.TRANSFER_FAILED]
    world.transfers.arrive(digest, 10_000)
    rest = await world.get(image.blob(), headers={"Range": "bytes=4000-"})
    assert (rest.status, rest.body) == (206, data[4000:])


async def test_after_a_failure_of_its_own_a_blob_is_waited_for_shorter_too() -> None:
    limits = replace(HASTY, progress_s=30.0, progress_again_s=0.2)
    async with running(limits=limits) as world:
        image = world.add_image()
        digest = image.layers[0]
        world.transfers.arrive(digest, 4000)
        world.transfers.fail(digest)
        assert (await world.get(image.blob(), headers={"Range": "bytes=4000-"})).status == 404
        world.transfers.arrive(digest, 4000)
        began_s = time.monotonic()
        assert (await world.get(image.blob(), headers={"Range": "bytes=4000-"})).status == 404
        assert time.monotonic() - began_s < SOON_S


async def test_a_blob_that_stops_arriving_is_cut_within_the_bound(hasty: World) -> None:
    image = hasty.add_image()
    hasty.transfers.arrive(image.layers[0], 4000)
    began_s = time.monotonic()
    async with hasty.session.get(hasty.url(image.blob())) as response:
        with pytest.raises(aiohttp.ClientPayloadError):
            await response.content.read()
    assert time.monotonic() - began_s < SOON_S


async def test_a_client_that_leaves_frees_its_reader(world: World) -> None:
    image = world.add_image()
    world.transfers.arrive(image.layers[0], 4000)
    response = await world.session.get(world.url(image.blob()))
    await response.content.readexactly(4000)
    assert world.transfers.open_readers == 1
    response.close()
    await until(lambda: world.transfers.open_readers == 0)


async def test_a_client_that_reads_nothing_is_dropped(hasty: World) -> None:
    big = bytes(64 * 1024 * 1024)  # more than the sockets' buffers take
    image = hasty.add_image(layers=(big,))
    host = f"127.0.0.1:{hasty.front.port}"
    reader, writer = await asyncio.open_connection("127.0.0.1", hasty.front.port, limit=1024)
    writer.write(f"GET {image.blob()}?ns={hasty.ns} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
    await until(lambda: bool(hasty.metrics.causes))
    assert hasty.metrics.causes == [Cause.CLIENT_STALLED]
    assert hasty.transfers.open_readers == 0
    writer.close()
    assert not reader.at_eof()


async def test_a_connection_is_kept_for_the_next_blob(world: World) -> None:
    image = world.add_image()
    reader, writer = await asyncio.open_connection("127.0.0.1", world.front.port)
    host = f"127.0.0.1:{world.front.port}"
    for index in (0, 1, 0):
        request = f"GET {image.blob(index)}?ns={world.ns} HTTP/1.1\r\nHost: {host}\r\n\r\n"
        writer.write(request.encode())
        assert b" 200 OK" in await reader.readuntil(b"\r\n\r\n")
        length = len(image.blobs[index])
        assert await reader.readexactly(length) == image.blobs[index]
    writer.close()
    await writer.wait_closed()


async def test_the_first_blob_request_of_a_manifest_starts_its_blobs_in_order(
    world: World,
) -> None:
    image = world.add_image()
    await world.get(image.by_tag)
    assert world.transfers.started_ahead == []  # looking at a manifest alone fetches nothing
    await world.get(image.blob(1))
    assert [s.digest for s in world.transfers.started_ahead] == [image.config, *image.layers]
    await world.get(image.blob(0))
    assert len(world.transfers.started_ahead) == 3


async def test_a_full_store_passes_the_registrys_bytes_through(world: World) -> None:
    image = world.add_image()
    world.transfers.fail_open(StoreFull("no room: told so by the test"))
    answer = await world.get(image.blob())
    assert (answer.status, answer.body) == (200, image.blobs[0])
    part = await world.get(image.blob(), headers={"Range": "bytes=10-19"})
    assert (part.status, part.body) == (206, image.blobs[0][10:20])


async def test_what_passes_through_unkept_is_never_whole_if_it_is_wrong(world: World) -> None:
    image = world.add_image()
    world.transfers.fail_open(StoreFull("no room: told so by the test"))
    world.registry.fail(WrongBytes(at=5), route="blobs", method="GET")
    try:
        answer = await world.get(image.blob())
    except aiohttp.ClientPayloadError:
        return
    assert answer.status == 404


async def test_a_client_that_was_cut_from_what_passed_through_is_remembered(world: World) -> None:
    image = world.add_image(layers=(bytes(3 << 20),))
    world.transfers.fail_open(StoreFull("no room: told so by the test"))
    await world.get(image.blob())
    assert world.transfers.passed == [], "it got all of it"
    world.registry.fail(WrongBytes(at=5), route="blobs", method="GET")
    with pytest.raises(aiohttp.ClientPayloadError):
        await world.get(image.blob())
    assert [spec.digest for spec in world.transfers.passed] == [image.layers[0]]


async def test_a_registry_that_tells_no_length_is_passed_through(world: World) -> None:
    image = world.add_image()
    world.registry.fail(Unframed(), route="blobs")
    answer = await world.get(image.blob())
    assert (answer.status, answer.body) == (200, image.blobs[0])


async def test_a_blob_that_the_registry_lacks_is_a_404(world: World) -> None:
    world.add_image()
    digest = Digest("sha256", hashlib.sha256(b"foreign").hexdigest())
    answer = await world.get(f"/v2/team/app/blobs/{digest}")
    assert answer.status == 404
    assert world.transfers.opened == []


async def test_a_registry_that_is_down_is_a_404(world: World) -> None:
    image = world.add_image()
    await world.registry.stop()
    began_s = time.monotonic()
    assert (await world.get(image.blob())).status == 404
    assert time.monotonic() - began_s < SOON_S


@pytest.mark.parametrize("status", [429, 500, 503])
async def test_a_registry_in_trouble_is_a_404(world: World, status: int) -> None:
    image = world.add_image()
    world.registry.fail(Answer(status), route="blobs")
    assert (await world.get(image.blob())).status == 404


async def test_a_private_blob_needs_the_right_credential(private: World) -> None:
    image = private.add_image()
    for wrong in ({}, WRONG):
        refused = await private.get(image.blob(), headers=wrong)
        assert refused.status == 401
        assert refused.headers["WWW-Authenticate"].startswith("Basic ")
    assert (await private.get(image.blob(), headers=ALICE)).body == image.blobs[0]
    # It is at hand now; that changes nothing for the others.
    assert (await private.get(image.blob())).status == 401
    assert (await private.get(image.blob(), headers=WRONG)).status == 401
    assert (await private.get(image.blob(), headers=BOB)).status == 403


async def test_a_digest_in_another_repository_is_refused_until_the_registry_says_yes(
    private: World,
) -> None:
    image = private.add_image()
    private.add_image("bob/app", layers=(b"bob's own layer",))
    assert (await private.get(image.by_tag, headers=ALICE)).status == 200
    assert (await private.get(image.blob(), headers=ALICE)).status == 200
    elsewhere = image.blob(repository="bob/app")
    assert (await private.get("/v2/bob/app/manifests/v1", headers=BOB)).status == 200
    assert (await private.get(elsewhere, headers=BOB)).status == 404
    private.registry.add_blob(image.blobs[0], repository="bob/app")
    assert (await private.get(elsewhere, headers=BOB)).body == image.blobs[0]


async def test_a_credential_that_is_refused_later_is_forgotten(private: World) -> None:
    image = private.add_image()
    assert (await private.get(image.by_tag, headers=ALICE)).status == 200
    assert (await private.get(image.blob(), headers=ALICE)).status == 200
    private.registry.auth.accounts = {}
    assert (await private.head(image.by_tag, headers=ALICE)).status == 401
    assert (await private.get(image.blob(), headers=ALICE)).status == 401


async def test_a_foreign_layer_in_a_manifest_proves_nothing(private: World) -> None:
    secret = private.add_image()
    manifest = json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": {"mediaType": "", "digest": str(secret.config), "size": 2},
            "layers": [
                {
                    "mediaType": "application/vnd.oci.image.layer.nondistributable.v1.tar",
                    "digest": str(secret.layers[0]),
                    "size": len(secret.blobs[0]),
                    "urls": ["https://example.com/layer"],
                }
            ],
        }
    )
    private.registry.add_manifest("bob/app", "v1", manifest.encode(), OCI_MANIFEST)
    assert (await private.get("/v2/bob/app/manifests/v1", headers=BOB)).status == 200
    answer = await private.get(secret.blob(repository="bob/app"), headers=BOB)
    assert answer.status == 404
    assert private.transfers.opened == []


async def test_a_registry_that_checks_no_manifests_is_always_asked() -> None:
    async with running(listing_is_access=False) as world:
        image = world.add_image()
        await world.get(image.by_tag)
        await world.get(image.blob())
        assert world.registry.counters.requests["HEAD blobs"] == 1
        # Nothing but what was proven is started ahead.
        assert {spec.digest for spec in world.transfers.started_ahead} == {image.layers[0]}


async def test_identical_questions_are_asked_once(world: World) -> None:
    image = world.add_image()
    answers = await asyncio.gather(*(world.get(image.blob()) for _ in range(8)))
    assert all(answer.body == image.blobs[0] for answer in answers)
    assert world.registry.counters.requests["HEAD blobs"] == 1


async def test_one_client_that_leaves_does_not_take_the_answer_from_others(world: World) -> None:
    image = world.add_image()
    rule = world.registry.fail(Hang(), route="blobs", method="HEAD", times=1)
    first = asyncio.ensure_future(world.get(image.blob()))
    second = asyncio.ensure_future(world.get(image.blob()))
    await until(lambda: rule.befallen > 0)
    first.cancel()
    await world.registry.stop()  # cuts the hanging HEAD
    assert (await second).status == 404
