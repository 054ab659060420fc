"""BlobDownload: cut, resumed, damaged, denied; what is kept is right or nothing is."""

import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from shoal.adapters.origin.client import OriginClient
from shoal.adapters.origin.config import Bounds, RegistryConfig
from shoal.cli.pulling.blob_download import BlobDownload
from shoal.cli.pulling.failures import DataWrong, NotFound
from shoal.cli.pulling.place import Place
from shoal.core.digest import Digest
from shoal.core.errors import OriginDenied, OriginError
from shoal.core.oci.manifests import Descriptor
from shoal.core.reference import Reference
from shoal.testing.registry import EmbeddedRegistry
from shoal.testing.registry_auth import AuthMode, RegistryAuth
from shoal.testing.registry_faults import (
    Answer,
    Disconnect,
    Fault,
    IgnoreRange,
    Stall,
    Truncate,
    Unframed,
    WrongBytes,
    WrongLength,
    WrongRange,
)

DATA = hashlib.shake_128(b"data").digest(300_000)


class Memory:
    """A target that only remembers."""

    def __init__(self, held: bytes = b"") -> None:
        self.data = bytearray(held)
        self.held_bytes = len(held)
        self.committed = False

    def read(self, offset: int, size_bytes: int) -> bytes:
        """See BlobTarget."""
        return bytes(self.data[offset : offset + size_bytes])

    def write(self, offset: int, data: bytes) -> None:
        """See BlobTarget."""
        assert offset + len(data) <= len(DATA), "beyond the blob's place"
        self.data[offset : offset + len(data)] = data

    def commit(self) -> None:
        """See BlobTarget."""
        self.committed = True

    def close(self) -> None:
        """See BlobTarget."""


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shoal.cli.pulling.place._PAUSES_S", (0.0,))


@pytest.fixture
async def registry() -> AsyncIterator[EmbeddedRegistry]:
    async with EmbeddedRegistry() as registry:
        registry.add_blob(DATA, repository="app")
        yield registry


@asynccontextmanager
async def place_at(registry: EmbeddedRegistry) -> AsyncIterator[Place]:
    config = RegistryConfig(name="r.example.com", url=registry.url, plain_http=True)
    async with OriginClient([config], bounds=Bounds(no_progress_s=0.2)) as client:
        yield Place(
            Reference.parse("r.example.com/app"),
            client=client,
            config=config,
            find_credentials=lambda: None,
        )


def blob_of(data: bytes = DATA, size_bytes: int | None = None) -> Descriptor:
    digest = Digest("sha256", hashlib.sha256(data).hexdigest())
    return Descriptor("layer", digest, len(data) if size_bytes is None else size_bytes)


async def downloaded(
    registry: EmbeddedRegistry, target: Memory, blob: Descriptor | None = None
) -> list[int]:
    steps: list[int] = []
    async with place_at(registry) as place:
        download = BlobDownload(blob or blob_of(), target, advanced=steps.append)
        await download.run([place])
    return steps


def ranges(registry: EmbeddedRegistry) -> list[str | None]:
    return [seen.headers.get("Range") for seen in registry.log]


async def test_a_blob_is_fetched_checked_and_committed(registry: EmbeddedRegistry) -> None:
    target = Memory()
    steps = await downloaded(registry, target)
    assert target.data == DATA
    assert target.committed
    assert steps[-1] == len(DATA)
    assert ranges(registry) == [None]


async def test_a_cut_connection_is_resumed_where_it_was(registry: EmbeddedRegistry) -> None:
    registry.fail(Truncate(100_000), times=2)
    target = Memory()
    await downloaded(registry, target)
    assert target.data == DATA
    assert ranges(registry) == [None, "bytes=100000-", "bytes=200000-"]


async def test_a_silent_connection_is_resumed_where_it_was(registry: EmbeddedRegistry) -> None:
    registry.fail(Stall(100_000), times=1)
    target = Memory()
    await downloaded(registry, target)
    assert target.data == DATA
    assert ranges(registry) == [None, "bytes=100000-"]


async def test_three_tries_without_a_byte_are_enough(registry: EmbeddedRegistry) -> None:
    registry.fail(Truncate(0))
    target = Memory()
    with pytest.raises(OriginError):
        await downloaded(registry, target)
    assert len(registry.log) == 3
    assert not target.committed


async def test_progress_between_failures_earns_new_tries(registry: EmbeddedRegistry) -> None:
    for _ in range(3):
        registry.fail(Truncate(50_000), times=1)
        registry.fail(Answer(503), times=2)
    target = Memory()
    await downloaded(registry, target)
    assert target.data == DATA
    assert len(registry.log) == 10


async def test_what_an_earlier_run_left_is_not_fetched_again(registry: EmbeddedRegistry) -> None:
    target = Memory(DATA[:70_000])
    steps = await downloaded(registry, target)
    assert target.data == DATA
    assert ranges(registry) == ["bytes=70000-"]
    assert steps[0] == 70_000


async def test_wrong_bytes_of_an_earlier_run_cost_one_more_fetch(
    registry: EmbeddedRegistry,
) -> None:
    target = Memory(b"x" + DATA[1:70_000])
    await downloaded(registry, target)
    assert target.data == DATA
    assert ranges(registry) == ["bytes=70000-", None]


async def test_a_whole_blob_of_an_earlier_run_costs_no_fetch(registry: EmbeddedRegistry) -> None:
    target = Memory(DATA)
    await downloaded(registry, target)
    assert target.committed
    assert ranges(registry) == []


async def test_bytes_that_are_wrong_once_are_fetched_again(registry: EmbeddedRegistry) -> None:
    registry.fail(WrongBytes(200_000), times=1)
    target = Memory()
    await downloaded(registry, target)
    assert target.data == DATA


async def test_bytes_that_stay_wrong_are_never_kept(registry: EmbeddedRegistry) -> None:
    registry.fail(WrongBytes(200_000))
    target = Memory()
    with pytest.raises(DataWrong, match="do not have that digest"):
        await downloaded(registry, target)
    assert not target.committed
    assert len(registry.log) == 2


@pytest.mark.parametrize("fault", [WrongLength(-3), WrongLength(3), Unframed(5), WrongRange()])
async def test_a_length_or_range_that_is_a_lie_is_data_that_is_wrong(
    registry: EmbeddedRegistry, fault: Fault
) -> None:
    registry.fail(fault)
    target = Memory(DATA[:1000] if isinstance(fault, WrongRange) else b"")
    with pytest.raises(DataWrong):
        await downloaded(registry, target)
    assert not target.committed


async def test_a_server_that_ignores_range_is_listened_to_from_the_start(
    registry: EmbeddedRegistry,
) -> None:
    registry.fail(IgnoreRange())
    target = Memory(DATA[:1000])
    await downloaded(registry, target)
    assert target.data == DATA
    assert len(registry.log) == 1


async def test_a_blob_that_is_shorter_than_its_manifest_says_ends_the_pull(
    registry: EmbeddedRegistry,
) -> None:
    with pytest.raises(DataWrong):
        await downloaded(registry, Memory(), blob_of(size_bytes=len(DATA) + 9))


async def test_a_blob_without_bytes_needs_no_request(registry: EmbeddedRegistry) -> None:
    target = Memory()
    await downloaded(registry, target, blob_of(b""))
    assert target.committed
    with pytest.raises(DataWrong, match="do not have"):
        await downloaded(registry, Memory(), blob_of(b"x", size_bytes=0))
    assert ranges(registry) == []


@pytest.mark.parametrize("fault", [Answer(404), Answer(403), Disconnect(), WrongBytes(7)])
async def test_the_next_place_takes_over_where_one_fails(
    registry: EmbeddedRegistry, fault: Fault
) -> None:
    registry.fail(fault)
    target = Memory()
    async with EmbeddedRegistry() as other:
        other.add_blob(DATA, repository="app")
        async with place_at(registry) as first, place_at(other) as second:
            await BlobDownload(blob_of(), target).run([first, second])
    assert target.data == DATA
    assert target.committed


async def test_the_next_place_goes_on_where_one_stopped(registry: EmbeddedRegistry) -> None:
    registry.fail(Truncate(100_000), times=1)
    registry.fail(Answer(404))
    target = Memory()
    async with EmbeddedRegistry() as other:
        other.add_blob(DATA, repository="app")
        async with place_at(registry) as first, place_at(other) as second:
            await BlobDownload(blob_of(), target).run([first, second])
        assert ranges(other) == ["bytes=100000-"]
    assert target.data == DATA


async def test_a_missing_blob_and_a_denial_are_what_they_are(registry: EmbeddedRegistry) -> None:
    with pytest.raises(NotFound):
        await downloaded(registry, Memory(), blob_of(b"never pushed"))
    registry.auth = RegistryAuth(AuthMode.BASIC)
    with pytest.raises(OriginDenied):
        await downloaded(registry, Memory())
