"""FakeTransfers behaves as the real ones must."""

import asyncio
import os

import pytest

from shoal.agent.ports import OriginGrant, Transfers
from shoal.core.blob import BlobSpec
from shoal.core.digest import Digest
from shoal.core.errors import StoreFull, TransferFailed
from shoal.testing.fake_transfers import FakeTransfers

DIGEST = Digest("sha256", "1" * 64)
SPEC = BlobSpec("registry.example", DIGEST, 5)
GRANT = OriginGrant("team/app")


async def test_a_blob_that_is_there_can_be_read() -> None:
    with FakeTransfers() as transfers:
        as_port: Transfers = transfers
        transfers.add(DIGEST, b"bytes")
        reader = await as_port.open(SPEC, GRANT)
        assert await reader.readable(0) == 5
        assert os.pread(reader.fd, 5, 0) == b"bytes"
        assert transfers.open_readers == 1
        reader.close()
        reader.close()
        assert transfers.open_readers == 0


async def test_a_reader_waits_for_what_has_not_arrived() -> None:
    with FakeTransfers() as transfers:
        transfers.add(DIGEST, b"bytes", arrived=2)
        reader = await transfers.open(SPEC, GRANT)
        assert await reader.readable(0) == 2
        waiting = asyncio.ensure_future(reader.readable(2))
        await asyncio.sleep(0)
        assert not waiting.done()
        transfers.arrive(DIGEST, 5)
        assert await waiting == 5
        sources = transfers.sources(DIGEST)
        assert sources is not None
        assert (sources.length_bytes, sources.origin_bytes, sources.peer_bytes) == (5, 3, 0)


async def test_it_fails_when_told_so() -> None:
    with FakeTransfers() as transfers:
        with pytest.raises(TransferFailed):
            await transfers.open(SPEC, GRANT)
        transfers.add(DIGEST, b"bytes", arrived=2)
        reader = await transfers.open(SPEC, GRANT)
        transfers.fail(DIGEST)
        with pytest.raises(TransferFailed):
            await reader.readable(2)
        transfers.fail_open(StoreFull("no room"))
        with pytest.raises(StoreFull):
            await transfers.open(SPEC, GRANT)


def test_what_is_started_ahead_is_remembered() -> None:
    with FakeTransfers() as transfers:
        transfers.prefetch([SPEC], GRANT)
        assert transfers.started_ahead == [SPEC]
