"""Small content, whole and checked."""

import hashlib

import pytest

from shoal.agent.front.small_content import read_whole
from shoal.agent.ports import OriginGrant
from shoal.core.blob import BlobSpec, ContentKind
from shoal.core.digest import Digest
from shoal.core.errors import StoreFull, TransferFailed
from shoal.testing.fake_transfers import FakeTransfers

BODY = b'{"schemaVersion": 2}'
DIGEST = Digest("sha256", hashlib.sha256(BODY).hexdigest())
SPEC = BlobSpec("registry.example", DIGEST, len(BODY), ContentKind.MANIFEST)
GRANT = OriginGrant("team/app")


async def test_right_bytes_are_returned(memory_blobs: FakeTransfers) -> None:
    memory_blobs.add(DIGEST, BODY)
    assert await read_whole(memory_blobs, SPEC, GRANT, timeout_s=1.0) == BODY
    assert memory_blobs.open_readers == 0


async def test_other_bytes_are_not(memory_blobs: FakeTransfers) -> None:
    memory_blobs.add(DIGEST, BODY.upper())
    with pytest.raises(TransferFailed, match="other bytes"):
        await read_whole(memory_blobs, SPEC, GRANT, timeout_s=1.0)
    assert memory_blobs.open_readers == 0


async def test_what_does_not_come_in_time_is_given_up(memory_blobs: FakeTransfers) -> None:
    memory_blobs.add(DIGEST, BODY, arrived=5)
    with pytest.raises(TransferFailed, match="within"):
        await read_whole(memory_blobs, SPEC, GRANT, timeout_s=0.05)
    assert memory_blobs.open_readers == 0


async def test_a_full_store_is_passed_on(memory_blobs: FakeTransfers) -> None:
    memory_blobs.fail_open(StoreFull("no room"))
    with pytest.raises(StoreFull):
        await read_whole(memory_blobs, SPEC, GRANT, timeout_s=1.0)
