"""Nodes with certificates: each piece comes with a receipt, and nobody takes one without."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from shoal.adapters.certificates.credentials import Credentials
from shoal.adapters.certificates.peer_credentials import PeerCredentials
from shoal.adapters.peers.handshake import ALPN
from shoal.adapters.store.memory import MemoryStore
from shoal.agent.holdings import Holding
from shoal.core.blob import MIB
from shoal.core.receipts.intake import Blame, Refusal, Vouched
from shoal.core.receipts.vouchers import Vouchers
from shoal.testing.cluster import Cluster
from shoal.testing.conformance_store import Sample
from unit.agent.certified import credentials_in, credentials_of, node_name
from unit.agent.driving import FakeOrigin, until
from unit.agent.members import Member, site

pytestmark = pytest.mark.usefixtures("leaves_nothing")

SAMPLE = Sample(12 * MIB + 17)
SPEC = SAMPLE.spec
ONE, OTHER, THIRD = "127.0.0.2", "127.0.0.3", "127.0.0.4"


GivenCredentials = Callable[[str], PeerCredentials]


@pytest.fixture
def credentials(tmp_path: Path) -> GivenCredentials:
    return credentials_of(tmp_path)


def registry() -> FakeOrigin:
    origin = FakeOrigin()
    origin.add(SAMPLE)
    return origin


async def kept(member: Member) -> Holding:
    """Wait until a node offers the blob as one that it has checked."""
    await until(lambda: SPEC.tag not in member.node.transfers)
    holding = member.holdings.open(SPEC.tag, now_s=0.0)
    assert holding is not None
    return holding


def checked(member: Member, result: str) -> float:
    return member.count("shoal_receipts_checked_total", result=result)


async def test_what_one_node_fetches_another_takes_with_its_receipts(
    credentials: GivenCredentials,
) -> None:
    origin = registry()
    async with site(ONE, OTHER, origin=origin, credentials=credentials) as (one, other):
        assert await one.pull(SPEC) == SAMPLE.content
        await kept(one)
        before = len(origin.asked)
        assert await other.pull(SPEC) == SAMPLE.content
        assert len(origin.asked) == before
        assert one.count("shoal_receipts_signed_total") >= 1
        assert 1 <= checked(other, "right") <= -(-SPEC.pieces // 16), "signed for in batches"
        assert checked(other, "wrong") == 0


async def test_nodes_that_fetch_together_pass_on_what_each_signs(
    credentials: GivenCredentials,
) -> None:
    origin = registry()
    async with site(ONE, OTHER, THIRD, origin=origin, credentials=credentials) as members:
        pulled = await asyncio.gather(*(member.pull(SPEC) for member in members))
        assert pulled == [SAMPLE.content] * 3
        for member in members:
            assert member.count("shoal_pieces_failed_total", reason="receipt") == 0
            assert member.count("shoal_pieces_failed_total", reason="hash") == 0
        assert sum(member.count("shoal_receipts_signed_total") for member in members) >= 1


async def test_a_holder_signs_anew_with_the_certificate_that_took_the_place_of_its_own(
    tmp_path: Path,
) -> None:
    cluster = Cluster(tmp_path, "edge")
    given = credentials_in(cluster)
    of: dict[str, PeerCredentials] = {}

    def credentials(host: str) -> PeerCredentials:
        of[host] = given(host)
        return of[host]

    origin = registry()
    async with site(ONE, OTHER, THIRD, origin=origin, credentials=credentials) as members:
        one, other, third = members
        assert await one.pull(SPEC) == SAMPLE.content
        await kept(one)
        assert await other.pull(SPEC) == SAMPLE.content
        signed = one.count("shoal_receipts_signed_total")
        assert signed >= 1
        given(ONE)  # over the files of the one before
        of[ONE].use(Credentials.read(of[ONE].files, alpn=(ALPN,)))
        await kept(other)
        other.holdings.forget(SPEC.tag)  # so that only the first has it to give
        assert await third.pull(SPEC) == SAMPLE.content
        assert one.count("shoal_receipts_signed_total") > signed
        assert third.count("shoal_pieces_failed_total", reason="receipt") == 0
        assert sum(end - start for _, start, end in origin.asked) == SPEC.length_bytes


async def test_what_a_signer_vouched_for_is_not_believed_when_it_was_revoked_meanwhile(
    tmp_path: Path,
) -> None:
    cluster = Cluster(tmp_path, "edge")
    given = credentials_in(cluster)
    of: dict[str, PeerCredentials] = {}

    def credentials(host: str) -> PeerCredentials:
        of[host] = given(host)
        return of[host]

    origin = registry()
    async with site(ONE, OTHER, origin=origin, credentials=credentials) as (one, other):
        assert await one.pull(SPEC) == SAMPLE.content
        await kept(one)
        assert await other.pull(SPEC) == SAMPLE.content
        # With the blob go the receipts that were kept for its arrival.
        await until(lambda: SPEC.tag not in other.node.transfers)
        said = (await kept(one)).vouchers.receipts[0]
        vouching = other.node.vouching
        vouching.heard(one.me, said, SPEC)
        await until(lambda: isinstance(vouching.standing(one.me, SPEC, 0, SAMPLE.hash(0)), Vouched))
        cluster.revoke(node_name(ONE))
        of[OTHER].use(Credentials.read(of[OTHER].files, alpn=(ALPN,)))
        vouching.heard(one.me, said, SPEC)  # as from a relay: the signer itself is cut off
        await until(lambda: isinstance(vouching.standing(one.me, SPEC, 0, SAMPLE.hash(0)), Refusal))
        standing = vouching.standing(one.me, SPEC, 0, SAMPLE.hash(0))
        assert isinstance(standing, Refusal)
        assert "revoked" in standing.reason
        assert standing.blame is Blame.SIGNER


async def test_after_a_restart_a_holder_signs_for_what_is_asked_for_when_it_is_asked_for(
    credentials: GivenCredentials,
) -> None:
    origin = registry()
    async with site(ONE, OTHER, origin=origin, credentials=credentials) as (one, other):
        assert await one.pull(SPEC) == SAMPLE.content
        holding = await kept(one)
        holding.vouchers = Vouchers.of_whole(SPEC)  # as `Holdings.load` finds it
        assert await other.pull(SPEC) == SAMPLE.content
        assert one.count("shoal_receipts_signed_total") >= 1
        assert holding.vouchers.receipts.keys() == set(range(SPEC.pieces))
        assert sum(end - start for _, start, end in origin.asked) == SPEC.length_bytes


async def test_pieces_that_a_restart_left_without_receipts_are_for_this_node_alone(
    credentials: GivenCredentials,
) -> None:
    origin, store = registry(), MemoryStore()
    partial = store.partial(SPEC)
    for piece in range(0, SPEC.pieces, 2):
        SAMPLE.put_piece(partial, piece)
    partial.close()
    stores = [store, MemoryStore()]
    async with site(
        ONE, OTHER, origin=origin, credentials=credentials, make_store=lambda: stores.pop(0)
    ) as (one, other):
        pulled = await asyncio.gather(one.pull(SPEC), other.pull(SPEC))
        assert set(pulled) == {SAMPLE.content}
        assert other.count("shoal_pieces_failed_total", reason="receipt") == 0
        kept = sum(SPEC.size(piece) for piece in range(0, SPEC.pieces, 2))
        assert one.count("shoal_peer_received_bytes_total") + kept <= SPEC.length_bytes
