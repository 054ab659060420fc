"""What is passed through: pings, lists, and blobs that are not kept."""

import json

import aiohttp
import pytest

from shoal.agent.front.answers import Cause
from shoal.core.errors import StoreFull
from shoal.testing.registry_faults import Answer, Disconnect, Oversize, Stall, Truncate, WithHeaders
from unit.agent.front.conftest import ALICE, Image, World


def unkept(world: World, *layers: bytes) -> Image:
    image = world.add_image(layers=layers)
    world.transfers.fail_open(StoreFull("no room: told so by the test"))
    return image


async def test_tags_are_listed_by_the_registry(world: World) -> None:
    world.add_image(tag="v1")
    world.add_image(tag="v2")
    answer = await world.get("/v2/team/app/tags/list?n=10")
    assert answer.status == 200
    assert json.loads(answer.body)["tags"] == ["v1", "v2"]
    # What was meant for the front stays there.
    assert world.registry.log[-1].path == "/v2/team/app/tags/list?n=10"


async def test_the_next_page_leads_through_the_front_again(world: World) -> None:
    link = '</v2/team/app/tags/list?n=1&last=v1>; rel="next"'
    world.registry.fail(Answer(200, headers={"Link": link}, body=b"{}"), route="tags")
    by_ns = await world.get("/v2/team/app/tags/list")
    expected = f'</v2/team/app/tags/list?n=1&last=v1&ns={world.ns}>; rel="next"'
    assert by_ns.headers["Link"] == expected
    address = world.registry.address
    by_path = await world.ask_url("GET", f"{world.base}/v2/{address}/team/app/tags/list")
    assert by_path.headers["Link"] == link.replace("/v2/", f"/v2/{address}/")


async def test_an_absolute_link_is_left_alone(world: World) -> None:
    link = '<https://registry.example/v2/team/app/tags/list?last=v1>; rel="next"'
    world.registry.fail(Answer(200, headers={"Link": link}, body=b"{}"), route="tags")
    assert (await world.get("/v2/team/app/tags/list")).headers["Link"] == link


async def test_referrers_are_listed_by_the_registry(world: World) -> None:
    image = world.add_image()
    answer = await world.get(f"/v2/team/app/referrers/{image.digest}")
    assert answer.status == 200
    assert json.loads(answer.body)["manifests"] == []


async def test_lists_need_the_credential_too(private: World) -> None:
    private.add_image()
    assert (await private.get("/v2/team/app/tags/list")).status == 401
    assert (await private.get("/v2/team/app/tags/list", headers=ALICE)).status == 200


async def test_only_some_headers_of_the_registry_get_through(world: World) -> None:
    headers = {"Set-Cookie": "session=1", "X-Internal": "host-7", "Content-Type": "text/plain"}
    world.registry.fail(Answer(404, headers=headers, body=b"no"), route="tags")
    answer = await world.get("/v2/team/app/tags/list")
    assert (answer.status, answer.body) == (404, b"no")
    assert answer.headers["Content-Type"] == "text/plain"
    assert not {"Set-Cookie", "X-Internal"} & set(answer.headers)


@pytest.mark.parametrize("fault", [Disconnect(), Answer(500), Answer(429)])
async def test_a_registry_in_trouble_is_a_404(world: World, fault: Disconnect | Answer) -> None:
    world.registry.fail(fault)
    for path in ("/v2/", "/v2/team/app/tags/list"):
        assert (await world.get(path)).status == 404


async def test_an_unkept_blob_of_many_chunks_is_whole(world: World) -> None:
    data = bytes(range(256)) * 8192
    image = unkept(world, data)
    assert (await world.get(image.blob())).body == data
    assert world.metrics.sent_bytes == len(data)


async def test_an_unkept_blob_that_ends_early_is_cut(world: World) -> None:
    image = unkept(world, bytes(2_000_000))
    world.registry.fail(Truncate(1_000_000), route="blobs", method="GET")
    with pytest.raises(aiohttp.ClientPayloadError):
        await world.get(image.blob())
    assert Cause.REGISTRY_UNAVAILABLE in world.metrics.causes


async def test_an_unkept_blob_of_another_length_is_a_404(world: World) -> None:
    image = unkept(world, b"right")
    await world.get(image.by_tag)  # so that the length is known
    world.registry.fail(
        Answer(200, headers={"Content-Type": "x"}, body=b"longer than right"),
        route="blobs",
        method="GET",
    )
    assert (await world.get(image.blob())).status == 404


async def test_an_unkept_blob_that_the_registry_refuses_is_a_404(world: World) -> None:
    image = unkept(world, b"right")
    world.registry.fail(Answer(503), route="blobs", method="GET")
    assert (await world.get(image.blob())).status == 404
    assert (await world.get(image.blob(), headers={"Range": "bytes=1-2"})).status == 404


async def test_a_client_that_leaves_an_unkept_blob_ends_its_stream(world: World) -> None:
    image = unkept(world, bytes(2_000_000))
    world.registry.fail(Stall(1_000_000), route="blobs", method="GET")
    response = await world.session.get(world.url(image.blob()))
    await response.content.readexactly(100_000)
    response.close()


async def test_a_list_over_the_bound_is_a_404(world: World) -> None:
    body = b" " * (5 * 1024 * 1024)
    world.registry.fail(Answer(200, body=body), route="tags")
    assert (await world.get("/v2/team/app/tags/list")).status == 404
    assert Oversize().size_bytes == len(body)
    assert WithHeaders({}).is_early is False
