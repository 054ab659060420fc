"""The blobs that clients want: opened, joined, kept, released, and given up."""

import asyncio
import logging
import os
import random
from dataclasses import replace

import pytest

from shoal.adapters.store.base import PartialBlob, StoredBlob
from shoal.adapters.store.memory import MemoryStore
from shoal.agent.transfer import StoredReader
from shoal.core.blob import KIB, MIN_PIECE_BYTES, BlobSpec
from shoal.core.errors import OriginError, StoreError, StoreFull, TransferFailed
from shoal.core.peer import PeerId
from shoal.core.swarm import events as on
from shoal.core.swarm.policy import DEFAULT
from shoal.testing.conformance_store import Sample
from unit.agent.driving import (
    GRANT,
    OTHER_GRANT,
    FakeOrigin,
    SlowPartial,
    descriptors,
    turns,
    until,
)
from unit.agent.members import Member, read_all, site

pytestmark = pytest.mark.usefixtures("leaves_nothing")

HOST = "127.0.0.2"
SAMPLE = Sample(1100 * KIB)
SPEC = SAMPLE.spec
PIECE = SPEC.piece_bytes
LENGTH = SPEC.length_bytes
LAYERS = [Sample(300 * KIB * n + 100, seed=n) for n in range(4)]
PEER = PeerId("127.0.0.9:1")
HASTY = replace(DEFAULT, released_s=0.05)


def registry(*samples: Sample) -> FakeOrigin:
    origin = FakeOrigin()
    for sample in samples or (SAMPLE,):
        origin.add(sample)
    return origin


def fetched(origin: FakeOrigin) -> int:
    """Return the bytes that were asked of the registry."""
    return sum(end - start for _, start, end in origin.asked)


async def kept(member: Member, sample: Sample = SAMPLE) -> None:
    """Wait until a blob is in the store, and its part file closed."""
    await until(
        lambda: (
            sample.digest in dict(member.store.digests())
            and sample.spec.tag not in member.transfers.active
        )
    )
    reader = await member.open(sample.spec)
    assert isinstance(reader, StoredReader)
    reader.close()


async def swept(member: Member) -> None:
    """Look after the transfers, as every second, until none is left."""
    async with asyncio.timeout(30.0):
        while member.transfers.active:
            member.transfers.sweep()
            await asyncio.sleep(0.005)


# --- opening --------------------------------------------------------------------------------------


async def test_a_blob_comes_from_the_registry_once_and_then_from_the_store() -> None:
    origin = registry()
    async with site(HOST, origin=origin) as (member,):
        assert await member.pull(SPEC) == SAMPLE.content
        await kept(member)
        assert await member.pull(SPEC) == SAMPLE.content
        assert fetched(origin) == LENGTH
        assert member.count("shoal_blobs_served_total", source="swarm") == 1
        assert member.count("shoal_blobs_served_total", source="store") == 2
        assert member.count("shoal_transfers_total", result="stored") == 1
        sources = member.transfers.sources(SAMPLE.digest)
        assert sources is not None
        assert (sources.cached_bytes, sources.origin_bytes) == (LENGTH, 0)


async def test_where_bytes_came_from_is_told_while_they_come() -> None:
    origin = registry()
    origin.hold_from = PIECE
    async with site(HOST, origin=origin) as (member,):
        reader = await member.open(SPEC)
        assert await reader.readable(0) == PIECE
        sources = member.transfers.sources(SAMPLE.digest)
        assert sources is not None
        assert (sources.length_bytes, sources.origin_bytes) == (LENGTH, PIECE)
        assert member.transfers.sources(LAYERS[0].digest) is None
        reader.close()


@pytest.mark.parametrize("length", [0, 1, MIN_PIECE_BYTES, MIN_PIECE_BYTES + 1])
async def test_blobs_of_every_shape_are_served(length: int) -> None:
    sample = Sample(length, algorithm="sha512")
    async with site(HOST, origin=registry(sample)) as (member,):
        assert await member.pull(sample.spec) == sample.content


async def test_clients_that_want_the_same_blob_share_one_transfer() -> None:
    origin = registry()
    async with site(HOST, origin=origin) as (member,):
        pulled = await asyncio.gather(*(member.pull(SPEC) for _ in range(20)))
        assert set(pulled) == {SAMPLE.content}
        assert fetched(origin) == LENGTH
        await kept(member)


@pytest.mark.parametrize("seed", range(10))
async def test_a_tiny_blob_that_ends_while_it_is_opened_again_is_opened_all_the_same(
    seed: int,
) -> None:
    dice = random.Random(seed)  # noqa: S311 - for no secrets
    tiny = [Sample(100 + n, seed=n) for n in range(3)]
    origin = registry(*tiny)

    async def pull_late(member: Member, sample: Sample) -> None:
        await turns(dice.randrange(30))
        if dice.random() < 0.5:
            await asyncio.sleep(dice.random() * 0.004)
        assert await member.pull(sample.spec) == sample.content

    async with site(HOST, origin=origin) as (member,):
        await asyncio.gather(*(pull_late(member, sample) for sample in tiny for _ in range(15)))
        assert fetched(origin) == sum(len(sample.content) for sample in tiny)


async def test_the_rights_of_all_clients_are_tried() -> None:
    origin = registry()
    origin.denied.add(OTHER_GRANT)
    origin.hold_from = 0
    async with site(HOST, origin=origin) as (member,):
        first = await member.open(SPEC, GRANT)
        second = await member.open(SPEC, OTHER_GRANT)
        origin.go_on.set()
        assert await read_all(second) == SAMPLE.content
        first.close()
        second.close()


async def test_a_stored_blob_of_another_length_than_the_manifest_says_is_an_error() -> None:
    async with site(HOST, origin=registry()) as (member,):
        assert await member.pull(SPEC) == SAMPLE.content
        await kept(member)
        before = descriptors()
        lie = BlobSpec("liar.example", SAMPLE.digest, LENGTH - 1)
        with pytest.raises(StoreError, match=f"has {LENGTH} bytes, liar.example says {LENGTH - 1}"):
            await member.open(lie)
        assert descriptors() == before


async def test_a_client_that_leaves_while_a_stored_blob_is_opened_leaves_no_pin() -> None:
    store = MemoryStore(quota_bytes=LENGTH)
    async with site(HOST, origin=registry(SAMPLE, LAYERS[3]), make_store=lambda: store) as (
        member,
    ):
        assert await member.pull(SPEC) == SAMPLE.content
        await kept(member)
        before = descriptors()
        for turn in range(6):
            opening = asyncio.ensure_future(member.transfers.open(SPEC, GRANT))
            await turns(turn)
            opening.cancel()
            await asyncio.wait([opening])
            if not opening.cancelled():
                opening.result().close()
        await until(lambda: descriptors() == before)
        assert await member.pull(LAYERS[3].spec) == LAYERS[3].content, "it could be evicted"


@pytest.mark.parametrize("turn", range(6))
async def test_a_client_that_leaves_while_a_blob_is_begun_leaves_no_transfer(turn: int) -> None:
    origin = registry()
    origin.hold_from = 0
    async with site(HOST, origin=origin, policy=HASTY) as (member,):
        opening = asyncio.ensure_future(member.transfers.open(SPEC, GRANT))
        await turns(turn)
        opening.cancel()
        await asyncio.wait([opening])
        if not opening.cancelled():
            opening.result().close()
        await member.workers.run(int)
        await turns(20)
        await swept(member)


async def test_one_client_that_leaves_does_not_fail_the_others() -> None:
    async with site(HOST, origin=registry()) as (member,):
        leaving = asyncio.ensure_future(member.transfers.open(SPEC, GRANT))
        staying = asyncio.ensure_future(member.pull(SPEC))
        await turns(3)
        leaving.cancel()
        assert await staying == SAMPLE.content
        await asyncio.wait([leaving])
        if not leaving.cancelled():
            leaving.result().close()


# --- no room --------------------------------------------------------------------------------------


async def test_a_blob_for_which_there_is_no_room_is_refused() -> None:
    async with site(
        HOST, origin=registry(), make_store=lambda: MemoryStore(quota_bytes=LENGTH - 1)
    ) as (member,):
        with pytest.raises(StoreFull):
            await member.open(SPEC)
        assert not member.transfers.active


async def test_more_blobs_than_may_arrive_at_once_are_refused() -> None:
    origin = registry(*LAYERS)
    origin.hold_from = 0
    async with site(HOST, origin=origin, most=2) as (member,):
        readers = [await member.open(sample.spec) for sample in LAYERS[:2]]
        with pytest.raises(StoreFull, match=r"2 blobs are arriving already \(swarm.max_transfers"):
            await member.open(LAYERS[2].spec)
        readers.append(await member.open(LAYERS[0].spec))  # one that is arriving may be joined
        origin.go_on.set()
        for reader in readers:
            await read_all(reader)
            reader.close()
        await until(lambda: not member.transfers.active)
        assert await member.pull(LAYERS[2].spec) == LAYERS[2].content


# --- the layers of an image -----------------------------------------------------------------------


async def test_layers_are_fetched_before_a_client_asks_for_them_but_those_that_are_here() -> None:
    origin = registry(*LAYERS, Sample(0))
    async with site(HOST, origin=origin) as (member,):
        assert await member.pull(LAYERS[1].spec) == LAYERS[1].content
        await kept(member, LAYERS[1])
        origin.asked.clear()
        specs = [sample.spec for sample in (*LAYERS, Sample(0))]
        member.transfers.prefetch(specs, GRANT)
        member.transfers.prefetch(specs, GRANT)
        reader = await member.open(LAYERS[0].spec)
        for sample in LAYERS[2:]:
            await kept(member, sample)
        assert await read_all(reader) == LAYERS[0].content
        reader.close()
        assert fetched(origin) == sum(
            len(sample.content) for sample in LAYERS if sample is not LAYERS[1]
        )
        await until(lambda: not member.transfers.active)
        assert member.transfers._groups == {}


async def test_layers_live_while_one_of_them_is_read_and_a_while_longer() -> None:
    origin = registry(*LAYERS)
    origin.hold_from = 0
    async with site(HOST, origin=origin, policy=HASTY) as (member,):
        member.transfers.prefetch([sample.spec for sample in LAYERS], GRANT)
        reader = await member.open(LAYERS[2].spec)
        await until(lambda: len(member.transfers.active) == 4)
        await asyncio.sleep(2 * HASTY.released_s)
        member.transfers.sweep()
        assert len(member.transfers.active) == 4
        reader.close()
        again = await member.open(LAYERS[1].spec)  # the next layer, or the same after a cut
        await asyncio.sleep(2 * HASTY.released_s)
        member.transfers.sweep()
        assert len(member.transfers.active) == 4
        again.close()
        await swept(member)
        assert member.count("shoal_transfers_total", result="released") == 4
        await until(lambda: origin.open == 0)


async def test_layers_that_nobody_comes_to_read_are_released() -> None:
    origin = registry(*LAYERS)
    origin.hold_from = 0
    async with site(HOST, origin=origin, policy=HASTY) as (member,):
        member.transfers.prefetch([sample.spec for sample in LAYERS], GRANT)
        await until(lambda: len(member.transfers.active) == 4)
        await swept(member)


async def test_a_layer_without_room_ends_the_prefetch_and_only_that(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    origin = registry(*LAYERS)
    origin.hold_from = 0
    async with site(HOST, origin=origin, most=1) as (member,):
        member.transfers.prefetch([sample.spec for sample in LAYERS], GRANT)
        await until(lambda: "prefetch_skipped" in caplog.messages)
        assert list(member.transfers.active) == [LAYERS[0].spec.tag]
        reader = await member.open(LAYERS[0].spec)
        origin.go_on.set()
        assert await read_all(reader) == LAYERS[0].content
        reader.close()


# --- release and resume ---------------------------------------------------------------------------


async def test_a_blob_that_nobody_reads_is_fetched_a_while_longer_and_resumed_later() -> None:
    origin = registry()
    origin.hold_from = PIECE + 1000
    async with site(HOST, origin=origin, policy=HASTY) as (member,):
        reader = await member.open(SPEC)
        assert await reader.readable(0) == PIECE
        member.transfers.sweep()
        reader.close()
        member.transfers.sweep()
        assert member.transfers.active, "it goes on for a while"
        await swept(member)
        assert member.count("shoal_transfers_total", result="released") == 1
        origin.hold_from = None
        origin.go_on.set()
        await until(lambda: origin.open == 0)
        origin.asked.clear()
        assert await member.pull(SPEC) == SAMPLE.content
        assert fetched(origin) == LENGTH - PIECE
        sources = member.transfers.sources(SAMPLE.digest)
        assert sources is not None
        assert sources.cached_bytes == PIECE


async def test_a_blob_that_ends_after_its_reader_left_is_kept() -> None:
    origin = registry()
    origin.hold_from = PIECE
    async with site(HOST, origin=origin) as (member,):
        (await member.open(SPEC)).close()
        origin.go_on.set()
        await kept(member)


# --- what goes wrong ------------------------------------------------------------------------------


async def test_a_blob_that_the_swarm_gives_up_fails_its_readers_and_may_be_tried_again() -> None:
    origin = registry()
    origin.cuts += [(PIECE + 5, OriginError("cut"))] + [(0, OriginError("503"))] * 20
    async with site(HOST, origin=origin, policy=replace(DEFAULT, give_up_s=0.1)) as (member,):
        reader = await member.open(SPEC)
        assert await reader.readable(0) == PIECE
        member.transfers.gave_up(SPEC.tag, "no peer has it")
        with pytest.raises(TransferFailed, match="no peer has it"):
            await reader.readable(PIECE)
        assert not member.transfers.active
        member.transfers.gave_up(SPEC.tag, "too late")
        reader.close()
        origin.cuts.clear()
        origin.asked.clear()
        assert await member.pull(SPEC) == SAMPLE.content
        assert fetched(origin) == LENGTH - PIECE


async def test_a_registry_that_refuses_everybody_fails_the_blob_soon() -> None:
    origin = registry()
    origin.denied.add(GRANT)
    async with site(HOST, origin=origin) as (member,):
        reader = await member.open(SPEC)
        async with asyncio.timeout(30.0):
            with pytest.raises(TransferFailed):
                await reader.readable(0)
        reader.close()


async def test_wrong_bytes_from_the_registry_reach_nobody_whole_and_are_not_kept(
    caplog: pytest.LogCaptureFixture,
) -> None:
    wrong = SAMPLE.content[:-1] + bytes([SAMPLE.content[-1] ^ 1])
    origin = FakeOrigin({SAMPLE.digest: wrong})
    async with site(HOST, origin=origin) as (member,):
        reader = await member.open(SPEC)
        with pytest.raises(TransferFailed, match="not what the digest says"):
            await read_all(reader)
        reader.close()
        assert "blob_rejected" in caplog.messages
        assert member.count("shoal_transfers_total", result="rejected") == 1
        assert not member.transfers.active
        origin.add(SAMPLE)
        origin.asked.clear()
        assert await member.pull(SPEC) == SAMPLE.content
        assert fetched(origin) == LENGTH, "nothing was kept of it"


async def test_of_those_who_sent_wrong_pieces_only_who_said_to_have_checked_the_blob_is_named(
    caplog: pytest.LogCaptureFixture,
) -> None:
    origin = registry()
    origin.hold_from = 0
    wrong = Sample(1100 * KIB, seed=99)
    liar, relay, honest = PEER, PeerId("127.0.0.7:1"), PeerId("127.0.0.8:1")
    async with site(HOST, origin=origin) as (member,):
        reader = await member.open(SPEC)
        transfer = member.transfers.active[SPEC.tag]
        whole = (1 << SPEC.pieces) - 1
        for peer, held in ((liar, whole), (relay, whole >> 1), (honest, whole)):
            member.node.swarm.exchanges[SPEC.tag].meet(peer, held)
        senders = {0: (wrong, relay), 1: (wrong, liar)}
        for piece in range(SPEC.pieces):
            sample, peer = senders.get(piece, (SAMPLE, honest))
            transfer.partial.write(SPEC.offset(piece), sample.piece(piece))
            transfer.partial.mark(piece, sample.hash(piece))
            member.node.stored(transfer, piece, sample.hash(piece), peer)
        with pytest.raises(TransferFailed):
            await read_all(reader)
        reader.close()
        origin.hold_from = None
        origin.go_on.set()
        origin.asked.clear()
        assert await member.pull(SPEC) == SAMPLE.content
        assert fetched(origin) == LENGTH
        await until(lambda: SPEC.tag not in member.transfers.active)
        said = {
            event: [r.__dict__["peer"] for r in caplog.records if r.getMessage() == event]
            for event in ("peer_sent_wrong_bytes", "peer_passed_wrong_bytes_on")
        }
        assert said == {
            "peer_sent_wrong_bytes": [liar],
            "peer_passed_wrong_bytes_on": [relay],
        }
        left_alone = member.node.swarm.site.left_alone
        assert [peer for peer in (liar, relay, honest) if left_alone(peer)] == [liar]


class _Stubborn(MemoryStore):
    """A store whose part files do to writes and commits what a test says."""

    def __init__(self) -> None:
        super().__init__()
        self.write_error: Exception | None = None
        self.commit_error: Exception | None = None

    def partial(self, spec: BlobSpec) -> PartialBlob:  # type: ignore[override]
        """Return a part file that obeys."""
        store = self

        class Partial(SlowPartial):
            def commit(self) -> StoredBlob:
                if store.commit_error is not None:
                    raise store.commit_error
                return self.inner.commit()

        partial = Partial(super().partial(spec), error=self.write_error)
        partial.gate.set()
        return partial


async def test_a_full_disk_fails_the_readers_and_the_next_try_is_a_new_one() -> None:
    store = _Stubborn()
    store.write_error = StoreFull("/store: no space left")
    async with site(HOST, origin=registry(), make_store=lambda: store) as (member,):
        reader = await member.open(SPEC)
        with pytest.raises(TransferFailed, match="cannot be stored: /store: no space left"):
            await reader.readable(0)
        store.write_error = None
        assert await member.pull(SPEC) == SAMPLE.content, "with the first reader still there"
        with pytest.raises(TransferFailed):
            await reader.readable(0)
        reader.close()


async def test_a_failed_blob_that_nobody_reads_is_swept_away() -> None:
    store = _Stubborn()
    store.write_error = StoreFull("full")
    async with site(HOST, origin=registry(), make_store=lambda: store) as (member,):
        reader = await member.open(SPEC)
        with pytest.raises(TransferFailed):
            await reader.readable(0)
        member.transfers.sweep()
        assert member.transfers.active, "its reader may be about to look"
        reader.close()
        member.transfers.sweep()
        assert not member.transfers.active


async def test_a_blob_that_cannot_be_committed_is_served_and_not_kept(
    caplog: pytest.LogCaptureFixture,
) -> None:
    store = _Stubborn()
    store.commit_error = StoreError("/store: read-only")
    origin = registry()
    async with site(HOST, origin=origin, make_store=lambda: store) as (member,):
        assert await member.pull(SPEC) == SAMPLE.content
        await until(lambda: not member.transfers.active)
        assert "blob_not_kept" in caplog.messages
        store.commit_error = None
        assert await member.pull(SPEC) == SAMPLE.content
        assert fetched(origin) == LENGTH, "the part file was still there"
        await kept(member)


# --- the end --------------------------------------------------------------------------------------


async def test_stopping_fails_who_still_waits() -> None:
    origin = registry()
    origin.hold_from = PIECE
    async with site(HOST, origin=origin) as (member,):
        reader = await member.open(SPEC)
        assert await reader.readable(0) == PIECE
        waiting = asyncio.ensure_future(reader.readable(PIECE))
        await turns()
        await member.transfers.stop()
        with pytest.raises(TransferFailed, match="the agent stops"):
            await waiting
        assert os.pread(reader.fd, PIECE, 0) == SAMPLE.piece(0), "its descriptor is its own"
        reader.close()


@pytest.mark.parametrize("turn", [0, 2, 4, 8, 16])
async def test_stopping_at_any_moment_leaves_nothing(turn: int) -> None:
    origin = registry(SAMPLE, *LAYERS)
    async with site(HOST, origin=origin) as (member,):
        member.transfers.prefetch([sample.spec for sample in LAYERS], GRANT)
        pulling = asyncio.ensure_future(member.pull(SPEC))
        await turns(turn)
        await member.transfers.stop()
        pulling.cancel()
        await asyncio.wait([pulling])


async def test_a_blob_that_became_whole_just_before_the_stop_is_kept_and_recorded() -> None:
    store = MemoryStore()
    async with site(HOST, origin=registry(), make_store=lambda: store) as (member,):
        assert await member.pull(SPEC) == SAMPLE.content
        await member.transfers.stop()
        assert SAMPLE.digest in dict(store.digests())
        assert member.holdings.spec(SPEC.tag) == SPEC


async def test_what_becomes_whole_is_offered_to_peers() -> None:
    async with site(HOST, origin=registry()) as (member,):
        await member.pull(SPEC)
        await kept(member)
        assert member.holdings.spec(SPEC.tag) == SPEC
        holding = member.holdings.open(SPEC.tag, now_s=0.0)
        assert holding is not None
        assert holding.hashes == SAMPLE.hashes()
        assert SPEC.tag in member.node.swarm.holds.specs
        member.node.tell(on.BlobDropped(SPEC.tag))


async def test_what_the_front_has_whole_is_kept_and_offered() -> None:
    async with site(HOST, origin=registry()) as (member,):
        member.transfers.keep(SPEC, SAMPLE.content)
        reader = await member.transfers.open(SPEC, GRANT)
        assert isinstance(reader, StoredReader)
        assert await read_all(reader) == SAMPLE.content
        reader.close()
        assert member.holdings.spec(SPEC.tag) == SPEC
        member.transfers.keep(SPEC, SAMPLE.content)  # it is here already
        await kept(member)


async def test_what_is_arriving_is_not_kept_a_second_time() -> None:
    origin = registry()
    async with site(HOST, origin=origin) as (member,):
        reader = await member.transfers.open(SPEC, GRANT)
        member.transfers.keep(SPEC, SAMPLE.content)
        assert await read_all(reader) == SAMPLE.content
        reader.close()
        await kept(member)


async def test_a_store_without_room_keeps_nothing_and_harms_nobody() -> None:
    async with site(HOST, origin=registry(), make_store=lambda: MemoryStore(quota_bytes=10)) as (
        member,
    ):
        member.transfers.keep(SPEC, SAMPLE.content)
        with pytest.raises(StoreFull):
            await member.transfers.open(SPEC, GRANT)
