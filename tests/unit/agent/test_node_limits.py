"""Whole nodes over loopback that keep to limits, and to others in the middle of a blob."""

import asyncio

import pytest

from shoal.core.blob import MIB
from shoal.testing.conformance_store import Sample
from unit.agent.driving import FakeOrigin, until
from unit.agent.members import Member, site

pytestmark = pytest.mark.usefixtures("leaves_nothing")

SAMPLE = Sample(4 * MIB + 17)
SIZE = SAMPLE.spec.length_bytes
RATE = 8_000_000
ONE, OTHER, THIRD = "127.0.0.2", "127.0.0.3", "127.0.0.4"


def registry() -> FakeOrigin:
    origin = FakeOrigin()
    origin.add(SAMPLE)
    return origin


async def whole(member: Member) -> None:
    """Have a node pull the blob and offer it."""
    assert await member.pull(SAMPLE.spec) == SAMPLE.content
    await until(lambda: SAMPLE.spec.tag in member.node.swarm.holds.specs)


async def timed(member: Member) -> float:
    """Pull the blob; return how long it took, in seconds."""
    loop = asyncio.get_running_loop()
    began_s = loop.time()
    assert await member.pull(SAMPLE.spec) == SAMPLE.content
    return loop.time() - began_s


def came_from_peers_once(member: Member) -> bool:
    return member.count("shoal_peer_received_bytes_total") == SIZE


async def test_an_upload_keeps_to_its_rate() -> None:
    async with site(ONE, OTHER, origin=registry()) as (one, other):
        await whole(one)
        one.limit(upload_bytes_per_s=RATE)
        assert await timed(other) >= SIZE / (1.05 * RATE) - 0.05
        assert came_from_peers_once(other)


async def test_a_download_keeps_to_its_rate_whoever_sends() -> None:
    async with site(ONE, OTHER, THIRD, origin=registry()) as (one, other, third):
        for member in (one, other):
            await whole(member)
        third.limit(download_bytes_per_s=RATE)
        assert await timed(third) >= SIZE / (1.05 * RATE) - 0.05
        assert came_from_peers_once(third)


async def test_limits_that_come_change_and_go_in_the_middle_lose_nothing() -> None:
    async with site(ONE, OTHER, origin=registry()) as (one, other):
        await whole(one)
        steps: list[tuple[Member, dict[str, object]]] = [
            (other, {"download_bytes_per_s": RATE}),
            (one, {"upload_bytes_per_s": RATE}),
            (other, {"download_bytes_per_s": RATE // 4}),
            (one, {"upload_bytes_per_s": 2 * RATE}),
            (other, {}),
            (one, {}),
        ]
        pull = asyncio.ensure_future(timed(other))
        for member, limits in steps:
            await asyncio.sleep(0.05)
            member.limit(**limits)
        await pull
        assert came_from_peers_once(other)
        assert other.count("shoal_pieces_failed_total", reason="cut") == 0


async def test_a_peer_that_connects_later_keeps_to_a_download_too() -> None:
    async with site(ONE, OTHER, origin=registry()) as (one, other):
        assert one.node.network.links == 0
        other.limit(download_bytes_per_s=RATE)
        await whole(one)
        assert await timed(other) >= SIZE / (1.05 * RATE) - 0.05


async def test_little_memory_is_enough() -> None:
    async with site(ONE, OTHER, origin=registry()) as (one, other):
        await whole(one)
        other.limit(memory_bytes=8 * MIB)
        await whole(other)
        assert came_from_peers_once(other)
