"""Gate: what the registry's answers let a client have. More in test_blobs.py, over sockets."""

import pytest
from multidict import CIMultiDict, CIMultiDictProxy

from shoal.adapters.origin.client import OriginAnswer
from shoal.agent.front.gate import content_length
from shoal.core.blob import MAX_BLOB_BYTES
from shoal.testing.registry_faults import Answer
from unit.agent.front.conftest import World


def head(length: str | None) -> OriginAnswer:
    headers: CIMultiDict[str] = CIMultiDict()
    if length is not None:
        headers["Content-Length"] = length
    return OriginAnswer(200, CIMultiDictProxy(headers), b"")


def test_a_length_is_a_number_of_bytes_that_a_blob_can_have() -> None:
    assert content_length(head("0")) == 0
    assert content_length(head(str(MAX_BLOB_BYTES))) == MAX_BLOB_BYTES


@pytest.mark.parametrize(
    "text", [None, "", "-1", "1e3", "0x10", "٣", str(MAX_BLOB_BYTES + 1), "9" * 5000]
)
def test_what_is_none_is_not_believed(text: str | None) -> None:
    assert content_length(head(text)) is None


async def test_a_yes_to_a_blob_is_remembered(world: World) -> None:
    image = world.add_image()
    for _ in range(3):
        assert (await world.get(image.blob())).status == 200
    assert world.requests() == 1


async def test_a_no_is_asked_again_each_time(world: World) -> None:
    image = world.add_image()
    rule = world.registry.fail(Answer(404), route="blobs", times=2)
    for _ in range(2):
        assert (await world.get(image.blob())).status == 404
    assert rule.befallen == 2
    assert (await world.get(image.blob())).status == 200


async def test_a_blob_is_not_had_by_being_known_as_a_manifest(world: World) -> None:
    image = world.add_image()
    assert (await world.get(image.by_tag)).status == 200
    answer = await world.get(f"/v2/team/app/blobs/{image.digest}")
    assert answer.status == 404
    assert world.registry.counters.requests["HEAD blobs"] == 1
