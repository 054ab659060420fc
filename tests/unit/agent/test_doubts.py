"""Who asks again for what may have been wrong gets all of it right, or nothing."""

import asyncio

import pytest

from shoal.adapters.store.memory import MemoryStore
from shoal.agent import doubts, transfers
from shoal.agent.ports import BlobReader
from shoal.core.blob import KIB
from shoal.core.errors import StoreFull, TransferFailed
from shoal.testing.conformance_store import Sample
from unit.agent.driving import GRANT, FakeOrigin, until
from unit.agent.members import Member, read_all, site

pytestmark = pytest.mark.usefixtures("leaves_nothing")

HOST = "127.0.0.2"
SAMPLE = Sample(1100 * KIB)
SPEC = SAMPLE.spec
PIECE = SPEC.piece_bytes
WRONG = bytes([SAMPLE.content[0] ^ 1]) + SAMPLE.content[1:]


async def from_start(member: Member) -> BlobReader:
    return await member.transfers.open(SPEC, GRANT, from_start=True)


async def is_withheld(reader: BlobReader) -> bool:
    """Whether a reader gets nothing of what is here already."""
    asking = asyncio.ensure_future(reader.readable(0))
    done, _ = await asyncio.wait((asking,), timeout=0.2)
    asking.cancel()
    await asyncio.wait((asking,))
    return not done


def half_a_registry(content: bytes) -> FakeOrigin:
    """Return a registry that holds back all but the first piece until it may go on."""
    origin = FakeOrigin({SAMPLE.digest: content})
    origin.hold_from = PIECE + 1000
    return origin


async def test_the_first_client_of_a_blob_gets_its_bytes_as_they_come() -> None:
    origin = half_a_registry(SAMPLE.content)
    async with site(HOST, origin=origin) as (member,):
        # One that comes while the first still reads has no reason to doubt.
        readers = [await from_start(member) for _ in range(2)]
        assert [await reader.readable(0) for reader in readers] == [PIECE, PIECE]
        for reader in readers:
            reader.close()
        origin.go_on.set()
        await until(lambda: not member.transfers.active)


async def test_who_comes_back_for_the_first_byte_gets_it_once_all_are_right() -> None:
    origin = half_a_registry(SAMPLE.content)
    async with site(HOST, origin=origin) as (member,):
        first = await from_start(member)
        assert await first.readable(0) == PIECE
        first.close()
        again = await from_start(member)
        assert await is_withheld(again)
        origin.go_on.set()
        assert await read_all(again) == SAMPLE.content
        again.close()


async def test_who_goes_on_where_it_was_is_not_held_up() -> None:
    origin = half_a_registry(SAMPLE.content)
    async with site(HOST, origin=origin) as (member,):
        (await from_start(member)).close()
        reader = await member.transfers.open(SPEC, GRANT)
        assert await reader.readable(0) == PIECE
        reader.close()
        origin.go_on.set()
        await until(lambda: not member.transfers.active)


async def test_who_comes_back_while_the_bytes_are_still_wrong_is_told_to_ask_elsewhere() -> None:
    origin = FakeOrigin({SAMPLE.digest: WRONG})
    async with site(HOST, origin=origin) as (member,):
        reader = await from_start(member)
        with pytest.raises(TransferFailed):
            await read_all(reader)
        reader.close()
        again = await from_start(member)
        with pytest.raises(TransferFailed):
            await again.readable(0)
        again.close()


async def test_a_blob_of_which_a_client_was_cut_is_doubted_also_when_it_is_begun_anew() -> None:
    origin = half_a_registry(SAMPLE.content)
    async with site(HOST, origin=origin) as (member,):
        reader = await from_start(member)
        assert await reader.readable(0) == PIECE
        member.transfers.gave_up(SPEC.tag, "no peer has it")
        reader.close()
        again = await from_start(member)
        assert await is_withheld(again)
        origin.go_on.set()
        assert await read_all(again) == SAMPLE.content
        again.close()


async def test_a_long_blob_is_not_withheld_for_minutes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doubts, "WITHHELD_MOST_BYTES", SPEC.length_bytes - 1)
    origin = half_a_registry(SAMPLE.content)
    async with site(HOST, origin=origin) as (member,):
        (await from_start(member)).close()
        again = await from_start(member)
        assert await again.readable(0) == PIECE
        again.close()
        origin.go_on.set()
        await until(lambda: not member.transfers.active)


async def test_a_client_is_sent_to_the_registry_where_the_blob_takes_long_to_be_whole_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(transfers, "WITHHELD_MOST_S", 0.2)
    origin = half_a_registry(SAMPLE.content)
    async with site(HOST, origin=origin) as (member,):
        (await from_start(member)).close()
        again = await from_start(member)
        with pytest.raises(TransferFailed, match="not whole again"):
            await again.readable(0)
        again.close()
        origin.go_on.set()
        await until(lambda: not member.transfers.active)


async def test_who_goes_on_with_a_blob_that_was_wrong_is_sent_to_the_registry_at_once() -> None:
    origin = FakeOrigin({SAMPLE.digest: WRONG})
    async with site(HOST, origin=origin) as (member,):
        reader = await from_start(member)
        with pytest.raises(TransferFailed):
            await read_all(reader)
        reader.close()
        with pytest.raises(TransferFailed, match="what was read of it before may be wrong"):
            await member.transfers.open(SPEC, GRANT)
        await until(lambda: not member.transfers.active)


async def test_a_blob_that_was_wrong_before_anybody_read_it_is_doubted_too() -> None:
    origin = FakeOrigin({SAMPLE.digest: WRONG})
    async with site(HOST, origin=origin) as (member,):
        member.transfers.prefetch([SPEC], GRANT)
        await until(lambda: member.count("shoal_transfers_total", result="rejected") > 0)
        await until(lambda: not member.transfers.active)
        origin.add(SAMPLE)
        origin.hold_from = PIECE + 1000
        reader = await from_start(member)
        assert await is_withheld(reader)
        origin.go_on.set()
        assert await read_all(reader) == SAMPLE.content
        reader.close()


async def test_who_goes_on_is_served_again_once_somebody_has_verified_the_blob() -> None:
    origin = FakeOrigin({SAMPLE.digest: WRONG})
    async with site(HOST, origin=origin) as (member,):
        reader = await from_start(member)
        with pytest.raises(TransferFailed):
            await read_all(reader)
        reader.close()
        await until(lambda: not member.transfers.active)
        origin.blobs[SAMPLE.digest] = SAMPLE.content
        again = await from_start(member)
        assert await read_all(again) == SAMPLE.content
        again.close()
        await until(lambda: not member.transfers.active)
        late = await member.transfers.open(SPEC, GRANT)
        assert await late.readable(PIECE) == SPEC.length_bytes
        late.close()


async def test_a_blob_that_passed_through_unkept_to_a_client_that_was_cut_is_doubted() -> None:
    origin = half_a_registry(SAMPLE.content)
    async with site(HOST, origin=origin) as (member,):
        member.transfers.passed_on(SPEC)
        reader = await from_start(member)
        assert await is_withheld(reader)
        origin.go_on.set()
        assert await read_all(reader) == SAMPLE.content
        reader.close()


async def test_a_doubted_blob_is_not_passed_through_where_there_is_no_room_for_it() -> None:
    origin = FakeOrigin({SAMPLE.digest: SAMPLE.content})
    store = MemoryStore(quota_bytes=SPEC.length_bytes - 1)
    async with site(HOST, origin=origin, make_store=lambda: store) as (member,):
        with pytest.raises(StoreFull):
            await from_start(member)
        member.transfers.passed_on(SPEC)
        with pytest.raises(TransferFailed, match="may have been wrong before"):
            await from_start(member)
