"""Whole nodes over loopback: blobs go from one to the other, and nobody hangs on a bad peer."""

import asyncio
import os
import threading
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from shoal.adapters.store.files import OpenBlob
from shoal.adapters.store.memory import MemoryStore
from shoal.agent import node as node_module
from shoal.agent import pieces as pieces_module
from shoal.agent.holdings import Holdings, piece_hash
from shoal.core.blob import KIB, MIB, BlobSpec, BlobTag
from shoal.core.digest import Digest
from shoal.core.errors import PeerFault, StoreError, StoreFull, TransferFailed
from shoal.core.peer import PeerId
from shoal.core.swarm import effects as do
from shoal.core.swarm import events as on
from shoal.core.swarm.policy import DEFAULT
from shoal.core.wire.messages import Block, Have, Join
from shoal.testing.conformance_store import Sample
from unit.agent.driving import FakeOrigin, SlowPartial, turns, until
from unit.agent.members import Member, read_all, site

pytestmark = pytest.mark.usefixtures("leaves_nothing")

BLOCK_BYTES = 256 * KIB  # half a piece
SAMPLE = Sample(6 * MIB + 17)
SPEC = SAMPLE.spec
PIECE = SPEC.piece_bytes
LENGTH = SPEC.length_bytes
EVERY_PIECE = (1 << SPEC.pieces) - 1
ONE, OTHER, THIRD = "127.0.0.2", "127.0.0.3", "127.0.0.4"

# Patience in tenths of the usual.
QUICK = replace(
    DEFAULT,
    stall_s=0.2,
    hedge_s=0.1,
    lease_patience_s=0.5,
    takeover_grace_s=0.1,
    announce_interval_s=0.5,
    alone_after_s=1.0,
    give_up_s=4.0,
    suspect_s=0.2,
)


def registry(*samples: Sample) -> FakeOrigin:
    origin = FakeOrigin()
    for sample in samples or (SAMPLE,):
        origin.add(sample)
    return origin


def fetched(origin: FakeOrigin) -> int:
    """Return the bytes that were asked of the registry."""
    return sum(end - start for _, start, end in origin.asked)


def one_buffer(member: Member) -> None:
    """Leave the node a single buffer for all that peers send."""
    member.limits.memory_bytes = MIB
    member.node.limits_changed()


async def connected(*members: Member) -> None:
    """Wait until each has a connection to every other."""
    for member in members:
        for other in members:
            if other is not member and member.node.network.link(other.me) is None:
                member.node.network.connect(other.me)
    await until(lambda: all(m.node.network.links == len(members) - 1 for m in members))


async def whole(member: Member, sample: Sample = SAMPLE) -> None:
    """Have a node pull a blob and offer it."""
    assert await member.pull(sample.spec) == sample.content
    await until(lambda: sample.spec.tag in member.node.swarm.holds.specs)


# --- from one node to the other -------------------------------------------------------------------


async def test_two_nodes_share_a_blob_that_the_registry_sends_once() -> None:
    origin = registry()
    async with site(ONE, OTHER, origin=origin) as members:
        await connected(*members)
        pulled = await asyncio.gather(*(member.pull(SPEC) for member in members))
        assert set(pulled) == {SAMPLE.content}
        assert fetched(origin) == LENGTH
        received = [member.count("shoal_peer_received_bytes_total") for member in members]
        assert sum(received) == LENGTH


async def test_many_nodes_share_an_image_that_the_registry_sends_once() -> None:
    layers = [Sample(n * 500 * KIB + 100, seed=n) for n in range(5)]
    origin = registry(*layers)
    hosts = [f"127.0.0.{n}" for n in range(2, 8)]
    async with site(*hosts, origin=origin) as members:
        await connected(*members)
        pulled = await asyncio.gather(
            *(member.pull(layer.spec) for member in members for layer in layers)
        )
        assert list(pulled) == [layer.content for layer in layers] * len(members)
        assert fetched(origin) == sum(len(layer.content) for layer in layers)


async def test_a_node_that_has_it_whole_spares_the_registry() -> None:
    origin = registry()
    async with site(ONE, OTHER, origin=origin) as (one, other):
        await connected(one, other)
        await whole(one)
        origin.asked.clear()
        assert await other.pull(SPEC) == SAMPLE.content
        assert origin.asked == []
        assert one.count("shoal_peer_sent_bytes_total") == LENGTH
        assert other.count("shoal_pieces_stored_total", source="peer") == SPEC.pieces
        sources = other.transfers.sources(SAMPLE.digest)
        assert sources is not None
        assert (sources.peer_bytes, sources.origin_bytes) == (LENGTH, 0)


async def test_neighbours_hear_of_new_pieces_at_once_from_a_node_that_was_idle() -> None:
    async with site(ONE, origin=registry()) as (member,):
        assert member.node.swarm.tick_s == 1.0
        ticking = member.node._ticking
        assert ticking is not None
        (await member.open(SPEC)).close()
        await until(lambda: member.transfers.active[SPEC.tag].held > 0)
        sooner = member.node._ticking
        assert sooner is not None
        now_s = asyncio.get_running_loop().time()
        assert sooner.when() < now_s + 2 * DEFAULT.have_interval_s


class _Fickle(MemoryStore):
    """A store that may lose, or be unable to open, what it has listed."""

    open_error: StoreError | None = None
    is_lost = False

    def open(self, digest: Digest) -> OpenBlob | None:
        """Fail as a test says."""
        if self.open_error is not None:
            raise self.open_error
        return None if self.is_lost else super().open(digest)

    def digests(self) -> Iterable[tuple[Digest, int]]:
        """Return nothing if it is lost."""
        return () if self.is_lost else super().digests()


@asynccontextmanager
async def one_has_it_since_before_a_restart(
    origin: FakeOrigin,
) -> AsyncIterator[tuple[Member, _Fickle, Member]]:
    """Two nodes, one of which found the blob in its store, as at its start, and said so."""
    stores = [_Fickle(), _Fickle()]
    async with site(ONE, OTHER, origin=origin, make_store=lambda: stores.pop(), policy=QUICK) as (
        one,
        other,
    ):
        await connected(one, other)
        store = one.store
        assert isinstance(store, _Fickle)
        SAMPLE.put(store).close()
        Holdings(store, one.folder / f"{one.host}.jsonl").add(SPEC, {})
        assert one.holdings.load() == [SPEC]
        one.node.tell(on.BlobStored(SPEC))
        # An idle node says so within a second; the test does not wait for that.
        while not any(SPEC.tag in m.node.swarm.tracker.tables for m in (one, other)):
            one.node.tell(on.Ticked())
            await asyncio.sleep(0.01)
        yield one, store, other


async def test_a_blob_from_before_a_restart_is_vouched_for_on_first_request() -> None:
    origin = FakeOrigin()
    async with one_has_it_since_before_a_restart(origin) as (one, _, other):
        assert await other.pull(SPEC) == SAMPLE.content
        assert origin.asked == []
        holding = one.holdings.open(SPEC.tag, now_s=0.0)
        assert holding is not None
        assert holding.hashes == SAMPLE.hashes()


@pytest.mark.parametrize("fault", ["evicted", "unreadable", "truncated"])
async def test_a_blob_that_is_gone_after_all_comes_from_the_registry(fault: str) -> None:
    origin = registry()
    async with one_has_it_since_before_a_restart(origin) as (one, store, other):
        if fault == "evicted":
            store.is_lost = True
        elif fault == "unreadable":
            store.open_error = StoreError("/store: input/output error")
        else:
            stored = store.open(SAMPLE.digest)
            assert stored is not None
            os.truncate(stored.fd, 0)
            stored.close()
        assert await other.pull(SPEC) == SAMPLE.content
        assert fetched(origin) == LENGTH
        assert SPEC.tag not in one.node.swarm.holds.specs
        assert one.node.swarm.uploads.sending == set()


async def test_what_the_store_has_dropped_is_offered_no_more() -> None:
    async with one_has_it_since_before_a_restart(registry()) as (one, store, other):
        await one.node.forget_evicted()
        assert SPEC.tag in one.node.swarm.holds.specs
        store.is_lost = True
        await one.node.forget_evicted()
        assert SPEC.tag not in one.node.swarm.holds.specs
        assert one.holdings.spec(SPEC.tag) is None
        members = (one, other)
        await until(lambda: not any(SPEC.tag in m.node.swarm.tracker.tables for m in members))


async def test_a_node_that_stops_while_it_reads_a_stored_piece_closes_its_file(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    reads, go_on = threading.Event(), threading.Event()

    def slow_hash(fd: int, spec: BlobSpec, piece: int) -> bytes:
        reads.set()
        assert go_on.wait(30.0)
        return piece_hash(fd, spec, piece)  # the descriptor is still this file's

    monkeypatch.setattr(node_module, "piece_hash", slow_hash)
    async with one_has_it_since_before_a_restart(registry()) as (one, _, other):
        reader = await other.open(SPEC)
        await until(reads.is_set)
        await one.transfers.stop()
        await one.node.stop()
        go_on.set()  # and `leaves_nothing` counts the descriptors
        reader.close()


async def test_an_order_that_fails_keeps_no_other_order_from_being_done(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with site(ONE, origin=registry()) as (member,):
        orders: list[do.Effect] = [do.Connect(PEER), do.Connect(NEXT_PEER)]
        dialed: list[PeerId] = []

        def connect(peer: PeerId) -> None:
            dialed.append(peer)
            if peer == PEER:
                raise ValueError("a bug")

        monkeypatch.setattr(member.node.network, "connect", connect)
        monkeypatch.setattr(member.node.swarm, "handle", lambda _, now_s: orders)
        member.node.tell(on.Ticked())
        assert dialed == [PEER, NEXT_PEER]
        assert "order_failed" in caplog.text


# --- peers that go --------------------------------------------------------------------------------


async def test_a_node_that_stops_in_the_middle_fails_nobody_elses_pull() -> None:
    origin = registry()
    origin.hold_from = 2 * PIECE
    async with site(ONE, OTHER, THIRD, origin=origin, policy=QUICK) as members:
        await connected(*members)
        readers = [await member.open(SPEC) for member in members]
        await until(lambda: len(origin.asked) >= 2)
        await members[0].stop()
        origin.hold_from = None
        origin.go_on.set()
        for reader in readers[1:]:
            assert await read_all(reader) == SAMPLE.content
        with pytest.raises(TransferFailed):
            await readers[0].readable(LENGTH - 1)
        for reader in readers:
            reader.close()


async def test_a_peer_that_lied_is_left() -> None:
    async with site(ONE, OTHER, origin=registry(), policy=QUICK) as (one, other):
        await connected(one, other)
        one.node.tell(on.PeerLied(other.me))
        await until(lambda: other.node.network.links == 0)
        assert one.node.swarm.site.left_alone(other.me)


async def test_a_blob_whose_transfer_has_ended_is_given_up_and_not_waited_for() -> None:
    async with site(ONE, origin=registry(), policy=QUICK) as (member,):
        given_up: list[BlobTag] = []
        member.node._on_give_up = lambda tag, _: given_up.append(tag)
        member.node.tell(on.BlobWanted(SPEC))  # and no transfer is there to fetch into
        await until(lambda: given_up == [SPEC.tag])
        member.node.tell(on.BlobDropped(SPEC.tag))


# --- pieces from peers, as the network tells of them ----------------------------------------------

PEER, NEXT_PEER = PeerId("127.0.0.8:1"), PeerId("127.0.0.9:1")


class Pieces:
    """A member that wants a blob, and peers that have it, whose words come from the test."""

    def __init__(self, member: Member) -> None:
        self.member = member
        self.node = member.node

    async def begin(self, *peers: PeerId) -> None:
        """Let the blob be wanted, of peers that hold it whole, with the registry out of reach."""
        self.reader = await self.member.open(SPEC)
        self.transfer = self.member.transfers.active[SPEC.tag]
        for peer in peers:
            self.join(peer)

    def join(self, peer: PeerId) -> None:
        """Let a peer connect that holds the blob whole."""
        self.node.peer_connected(peer)
        self.node.message_arrived(peer, Join(SPEC, EVERY_PIECE))

    def asked(self, peer: PeerId = PEER) -> list[int]:
        """Which pieces are asked of a peer, in order."""
        return sorted(self.node.swarm.exchanges[SPEC.tag].neighbours[peer].asked)

    def begin_block(
        self, piece: int, at: int, *, peer: PeerId = PEER, length: int = BLOCK_BYTES
    ) -> tuple[Block, memoryview | None]:
        """Let a block's head arrive."""
        block = Block(SPEC.tag, piece, at, length, SAMPLE.hash(piece))
        return block, self.node.block_begins(peer, block)

    def block(self, piece: int, at: int, *, peer: PeerId = PEER, wrong: bool = False) -> None:
        """Let a whole block arrive."""
        length = min(BLOCK_BYTES, SPEC.size(piece) - at)
        block, place = self.begin_block(piece, at, peer=peer, length=length)
        assert place is not None
        place[:] = bytes(length) if wrong else SAMPLE.piece(piece)[at : at + length]
        self.node.block_arrived(peer, block)

    def piece(self, piece: int, *, peer: PeerId = PEER, wrong: bool = False) -> None:
        """Let a whole piece arrive."""
        for at in range(0, SPEC.size(piece), BLOCK_BYTES):
            self.block(piece, at, peer=peer, wrong=wrong)

    @property
    def buffers_out(self) -> int:
        """How many buffers are in use."""
        return self.node._segments.out


@pytest.fixture
async def pieces(leaves_nothing: None) -> AsyncIterator[Pieces]:
    origin = registry()
    origin.hold_from = 0
    async with site(ONE, origin=origin) as (member,):
        it = Pieces(member)
        await it.begin(PEER, NEXT_PEER)
        yield it
        it.reader.close()
        assert it.buffers_out == 0
        assert it.transfer.writers.keys() <= {0, 1, 2}, "the registry's"


async def test_asked_pieces_are_stored_and_told(pieces: Pieces) -> None:
    for piece in (first := pieces.asked())[:2]:
        pieces.piece(piece)
    assert set(pieces.transfer.hashes) == set(first[:2])
    assert pieces.transfer.suppliers == dict.fromkeys(first[:2], PEER)
    assert pieces.transfer.sources.peer_bytes == 2 * PIECE
    assert pieces.member.count("shoal_peer_received_bytes_total") == 2 * PIECE
    assert not set(pieces.asked()) & set(first[:2])


async def test_bytes_of_a_piece_that_is_not_whole_show_that_its_blob_arrives(
    pieces: Pieces,
) -> None:
    piece, sources = pieces.asked()[0], pieces.transfer.sources
    pieces.block(piece, 0)
    assert (sources.moving_bytes, sources.peer_bytes) == (BLOCK_BYTES, 0)
    pieces.block(piece, BLOCK_BYTES)
    assert sources.peer_bytes == PIECE


async def test_bytes_that_nobody_asked_for_are_passed_over(pieces: Pieces) -> None:
    unasked = next(n for n in range(SPEC.pieces) if n not in pieces.asked())
    pieces.piece(unasked)
    stranger = PeerId("127.0.0.77:1")
    pieces.piece(pieces.asked()[0], peer=stranger)
    other_blob = Block(Sample(1).spec.tag, 0, 0, 100, bytes(32))
    place = pieces.node.block_begins(PEER, other_blob)
    assert place is not None
    assert len(place) == 100
    pieces.node.block_arrived(PEER, other_blob)
    assert pieces.transfer.hashes == {}
    assert pieces.buffers_out == 0


async def test_a_piece_joined_in_the_middle_is_passed_over(pieces: Pieces) -> None:
    pieces.block(pieces.asked()[0], BLOCK_BYTES)
    assert pieces.transfer.hashes == {}


async def test_a_block_out_of_order_is_the_peers_fault(pieces: Pieces) -> None:
    piece = pieces.asked()[0]
    pieces.block(piece, 0)
    with pytest.raises(PeerFault, match=f"does not continue piece {piece}"):
        pieces.block(piece, 0)
    pieces.node.peer_lost(PEER, "broke the protocol", failed=True)
    assert pieces.transfer.hashes == {}


async def test_a_piece_that_fails_its_hash_is_dropped_and_asked_of_another(pieces: Pieces) -> None:
    piece = pieces.asked()[0]
    pieces.piece(piece, wrong=True)
    assert pieces.transfer.hashes == {}
    assert pieces.transfer.partial.held() == {}
    assert pieces.member.count("shoal_pieces_failed_total", reason="hash") == 1
    assert piece not in pieces.asked()
    assert pieces.transfer.failure is None


async def test_a_peer_that_goes_in_the_middle_of_a_piece_leaves_room_for_another(
    pieces: Pieces,
) -> None:
    piece, next_piece = pieces.asked()[:2]
    pieces.block(piece, 0)
    pieces.begin_block(next_piece, 0)  # and its bytes never come
    assert pieces.buffers_out == 2
    pieces.node.peer_lost(PEER, "the peer closed the connection", failed=True)
    assert pieces.buffers_out == 0
    assert pieces.member.count("shoal_pieces_failed_total", reason="cut") == 2
    pieces.join(PEER)
    for again in pieces.asked():
        pieces.piece(again)
        assert again in pieces.transfer.hashes


async def test_a_stalled_peer_is_overtaken_and_its_late_bytes_harm_nobody(
    pieces: Pieces, monkeypatch: pytest.MonkeyPatch
) -> None:
    piece = pieces.asked()[0]
    late, late_place = pieces.begin_block(piece, 0)
    assert late_place is not None
    late_place[:1000] = SAMPLE.piece(piece)[:1000]
    monkeypatch.setattr(pieces_module, "STALLED_S", -1.0)
    pieces.node.swarm.exchanges[SPEC.tag].ask(piece, NEXT_PEER, 0.0)  # as when it hedges
    block, place = pieces.begin_block(piece, 0, peer=NEXT_PEER)
    assert place is not None
    place[:] = SAMPLE.piece(piece)[:BLOCK_BYTES]
    late_place[:] = b"x" * BLOCK_BYTES  # the link is still in the middle of that block
    pieces.node.block_arrived(NEXT_PEER, block)
    pieces.node.block_arrived(PEER, late)
    pieces.block(piece, BLOCK_BYTES)  # the rest from the slow one is passed over
    pieces.block(piece, BLOCK_BYTES, peer=NEXT_PEER)
    assert pieces.transfer.hashes == {piece: SAMPLE.hash(piece)}
    assert pieces.transfer.suppliers == {piece: NEXT_PEER}
    assert pieces.member.count("shoal_pieces_failed_total", reason="hash") == 0


async def test_without_buffers_a_peer_waits_until_there_is_one(
    pieces: Pieces, monkeypatch: pytest.MonkeyPatch
) -> None:
    one_buffer(pieces.member)
    resumed: list[None] = []
    monkeypatch.setattr(pieces.node.network, "resume_reading", lambda: resumed.append(None))
    piece, waiting = pieces.asked()[0], pieces.asked(NEXT_PEER)[0]
    pieces.block(piece, 0)
    assert pieces.begin_block(waiting, 0, peer=NEXT_PEER)[1] is None
    pieces.block(piece, BLOCK_BYTES)
    await turns()
    assert resumed == [None]
    pieces.piece(waiting, peer=NEXT_PEER)
    assert set(pieces.transfer.hashes) == {piece, waiting}


async def test_a_store_that_fails_fails_the_transfer_and_keeps_no_buffer(pieces: Pieces) -> None:
    slow = SlowPartial(pieces.transfer.partial, error=StoreFull("/store: no space left"))
    slow.gate.set()
    pieces.transfer.partial = slow
    pieces.piece(pieces.asked()[0])
    assert pieces.transfer.failure == "cannot be stored: /store: no space left"
    with pytest.raises(TransferFailed, match="no space left"):
        await pieces.reader.readable(0)


async def test_words_about_blobs_that_nobody_knows_are_harmless(pieces: Pieces) -> None:
    tag = Sample(1).spec.tag
    pieces.node.message_arrived(PEER, Have(tag, (1, 2, 3)))
    pieces.node.message_arrived(PEER, Have(SPEC.tag, (2**32 - 1,)))
    assert pieces.transfer.failure is None


async def test_a_blob_comes_through_with_a_single_buffer_for_all_its_peers() -> None:
    origin = registry()
    async with site(ONE, OTHER, THIRD, origin=origin) as (one, other, third):
        one_buffer(third)
        await connected(one, other, third)
        await whole(one)
        await whole(other)
        origin.asked.clear()
        assert await third.pull(SPEC) == SAMPLE.content
        assert origin.asked == []
