"""A member with a certificate that lies to whole nodes: it is named, left out, and done without."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from shoal.adapters.certificates.credentials import Credentials
from shoal.adapters.peers.handshake import ALPN
from shoal.core.blob import MIB
from shoal.core.errors import TransferFailed
from shoal.core.membership.placement import ranked
from shoal.core.peer import PeerId
from shoal.core.swarm.policy import DEFAULT
from shoal.testing.cluster import Cluster
from shoal.testing.conformance_store import Sample
from shoal.testing.lying_peer import Lie, LyingPeer
from unit.agent.certified import credentials_in
from unit.agent.driving import FakeOrigin, until
from unit.agent.members import Member, site
from unit.ports import free_port

pytestmark = pytest.mark.usefixtures("leaves_nothing")

HOSTS = "127.0.0.2", "127.0.0.3", "127.0.0.4"
LIARS_HOST = "127.0.0.5"
POLICY = replace(DEFAULT, announce_interval_s=1.0)


@asynccontextmanager
async def misled(
    folder: Path, lie: Lie, sample: Sample
) -> AsyncIterator[tuple[list[Member], LyingPeer, FakeOrigin]]:
    """Nodes of a cluster, and one that says to have a blob and lies about it."""
    cluster = Cluster(folder, "edge")
    origin = FakeOrigin()
    origin.add(sample)
    liar = PeerId(f"{LIARS_HOST}:{free_port(host=LIARS_HOST)}")
    own = Credentials.read(cluster.issue("insider", [LIARS_HOST]), alpn=(ALPN,))
    async with site(
        *HOSTS, origin=origin, policy=POLICY, others=[liar], credentials=credentials_in(cluster)
    ) as members:
        everybody = (*(member.me for member in members), liar)
        peer = LyingPeer(liar, everybody, sample.spec, sample.content, lie, own)
        running = asyncio.ensure_future(peer.run())
        try:
            # It announces to the blob's tracker, if that is not itself.
            is_tracker = ranked(sample.spec.tag, everybody)[0] == liar
            await until(lambda: len(peer.links) == len(members))
            await until(lambda: is_tracker or peer.seen["announced"] > 0)
            yield members, peer, origin
        finally:
            running.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await running


SAMPLE = Sample(8 * MIB + 17)


async def attempt(member: Member, sample: Sample) -> bool:
    """Pull once; return whether it came, and right."""
    try:
        return await member.pull(sample.spec) == sample.content
    except TransferFailed:
        return False


async def test_an_insider_that_vouches_for_wrong_bytes_is_named_by_all_before_they_ask_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    sample = SAMPLE
    caplog.set_level(logging.ERROR)
    async with misled(tmp_path, Lie.WRONG_BYTES, sample) as (members, liar, origin):
        first = await asyncio.gather(*(attempt(member, sample) for member in members))
        assert not all(first), "somebody took its word"
        for member, right in zip(members, first, strict=True):
            await until(
                lambda m=member, r=right: r or m.count("shoal_signers_named_total") == 1  # type: ignore[misc]
            )
        second = await asyncio.gather(*(attempt(member, sample) for member in members))
        assert all(second)
        named = [r for r in caplog.records if r.message == "peer_vouched_for_wrong_bytes"]
        assert {record.__dict__["peer"] for record in named} == {liar.me}
        assert len(named) == first.count(False)
        fetched = sum(end - start for _, start, end in origin.asked)
        assert fetched <= 2.2 * sample.spec.length_bytes
        for member, right in zip(members, first, strict=True):
            assert right or member.node.swarm.site.left_out(liar.me)


@pytest.mark.parametrize("lie", [Lie.WRONG_HASH, Lie.UNSIGNED, Lie.FORGED])
async def test_a_piece_that_its_receipt_does_not_cover_is_dropped_and_its_sender_left_out(
    tmp_path: Path, lie: Lie
) -> None:
    sample = SAMPLE
    async with misled(tmp_path, lie, sample) as (members, liar, _):
        pulled = await asyncio.gather(*(attempt(member, sample) for member in members))
        assert all(pulled), "it costs no attempt"
        dropped = sum(
            member.count("shoal_pieces_failed_total", reason=reason)
            for member in members
            for reason in ("hash", "receipt")
        )
        assert dropped > 0
        for member in members:
            assert member.count("shoal_signers_named_total") == 0
            assert member.count("shoal_transfers_total", result="rejected") == 0
        assert liar.seen["lied"] >= dropped


async def test_a_peer_that_only_drips_holds_up_nobody(tmp_path: Path) -> None:
    # It is never silent, and no piece of its ever passes or fails its hash.
    async with misled(tmp_path, Lie.DRIP, SAMPLE) as (members, liar, origin):
        pulled = await asyncio.gather(*(attempt(member, SAMPLE) for member in members))
        assert all(pulled), "it costs no attempt"
        assert liar.seen["lied"] > 0, "nobody asked it"
        fetched = sum(end - start for _, start, end in origin.asked)
        assert fetched <= len(HOSTS) * SAMPLE.spec.length_bytes
