"""Nodes with certificates: each piece comes with a receipt, and nobody takes one without."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from shoal.adapters.certificates.peer_credentials import PeerCredentials
from shoal.core.blob import MIB
from shoal.testing.conformance_store import Sample
from unit.agent.certified import credentials_of
from unit.agent.driving import FakeOrigin
from unit.agent.members import Member, site

pytestmark = pytest.mark.usefixtures("leaves_nothing")

SAMPLE = Sample(12 * MIB + 17)
SPEC = SAMPLE.spec
ONE, OTHER, THIRD = "127.0.0.2", "127.0.0.3", "127.0.0.4"


Credentials = Callable[[str], PeerCredentials]


@pytest.fixture
def credentials(tmp_path: Path) -> Credentials:
    return credentials_of(tmp_path)


def registry() -> FakeOrigin:
    origin = FakeOrigin()
    origin.add(SAMPLE)
    return origin


def checked(member: Member, result: str) -> float:
    return member.count("shoal_receipts_checked_total", result=result)


async def test_what_one_node_fetches_another_takes_with_its_receipts(
    credentials: Credentials,
) -> None:
    origin = registry()
    async with site(ONE, OTHER, origin=origin, credentials=credentials) as (one, other):
        assert await one.pull(SPEC) == SAMPLE.content
        before = len(origin.asked)
        assert await other.pull(SPEC) == SAMPLE.content
        assert len(origin.asked) == before
        assert one.count("shoal_receipts_signed_total") >= 1
        assert 1 <= checked(other, "right") <= -(-SPEC.pieces // 16), "signed for in batches"
        assert checked(other, "wrong") == 0


async def test_nodes_that_fetch_together_pass_on_what_each_signs(credentials: Credentials) -> None:
    origin = registry()
    async with site(ONE, OTHER, THIRD, origin=origin, credentials=credentials) as members:
        pulled = await asyncio.gather(*(member.pull(SPEC) for member in members))
        assert pulled == [SAMPLE.content] * 3
        for member in members:
            assert member.count("shoal_pieces_failed_total", reason="receipt") == 0
            assert member.count("shoal_pieces_failed_total", reason="hash") == 0
        assert sum(member.count("shoal_receipts_signed_total") for member in members) >= 1
