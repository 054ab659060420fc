"""What every store must do, as tests: subclass `StoreConformance` and give it a store.

    class TestMyStore(StoreConformance):
        @contextmanager
        def store(self, quota_bytes: int) -> Iterator[Store]:
            ...

The names and contracts are those of `shoal.adapters.store.base`.
"""

# ruff: noqa: D102  a test's name says what it tests

import hashlib
import os
from abc import ABC, abstractmethod
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from random import Random

from blake3 import blake3

from shoal.adapters.store.base import PartialBlob, Store, StoredBlob
from shoal.core.blob import KIB, MIB, MIN_PIECE_BYTES, BlobSpec, ContentKind
from shoal.core.digest import Digest
from shoal.core.errors import ShoalError, StoreError, StoreFull

QUOTA_BYTES = 64 * MIB

# One empty blob, one byte, a whole piece and one byte either side, several pieces and a short one.
LENGTHS = (
    0,
    1,
    MIN_PIECE_BYTES - 1,
    MIN_PIECE_BYTES,
    MIN_PIECE_BYTES + 1,
    3 * MIN_PIECE_BYTES + 17,
)


class Sample:
    """A blob with made-up bytes, its specification and its piece hashes."""

    def __init__(
        self,
        length_bytes: int = 1200 * KIB,
        *,
        seed: int = 0,
        registry: str = "registry.example",
        algorithm: str = "sha256",
    ) -> None:
        self.content = Random(f"{seed} {length_bytes}").randbytes(length_bytes)  # noqa: S311
        self.digest = Digest(algorithm, hashlib.new(algorithm, self.content).hexdigest())
        self.spec = BlobSpec(registry, self.digest, length_bytes, ContentKind.BLOB)

    def piece(self, piece: int) -> bytes:
        """Return the bytes of `piece`."""
        start = self.spec.offset(piece)
        return self.content[start : start + self.spec.size(piece)]

    def hash(self, piece: int) -> bytes:
        """Return the hash of `piece`."""
        return blake3(self.piece(piece)).digest()

    def hashes(self) -> dict[int, bytes]:
        """Return the hash of every piece."""
        return {piece: self.hash(piece) for piece in range(self.spec.pieces)}

    def put_piece(self, partial: PartialBlob, piece: int) -> None:
        """Write `piece` in two blocks and mark it."""
        content, offset = self.piece(piece), self.spec.offset(piece)
        middle = len(content) // 2
        partial.write(offset, content[:middle])
        partial.write(offset + middle, memoryview(content)[middle:])
        partial.mark(piece, self.hash(piece))

    def put(self, store: Store) -> StoredBlob:
        """Bring the whole blob into `store` and return it open."""
        partial = store.partial(self.spec)
        try:
            for piece in range(self.spec.pieces):
                self.put_piece(partial, piece)
            return partial.commit()
        finally:
            partial.close()

    def keep(self, store: Store) -> None:
        """Bring the whole blob into `store` and let go of it."""
        self.put(store).close()


def read(opened: StoredBlob | PartialBlob, length_bytes: int) -> bytes:
    """Return `length_bytes` and one more, if it is there, from the start of what is open."""
    content = b""
    while block := os.pread(opened.fd, length_bytes + 1 - len(content), len(content)):
        content += block
    return content


def refused(error: type[ShoalError] | type[ValueError], call: Callable[[], object]) -> None:
    """Assert that `call` raises `error`, with a message."""
    try:
        call()
    except error as raised:
        message = str(raised)
    else:
        raise AssertionError(f"{error.__name__} was not raised")
    assert message, "an error must say what is wrong"


class StoreConformance(ABC):
    """The suite; pytest runs the methods of a subclass whose name starts with Test."""

    @abstractmethod
    def store(self, quota_bytes: int) -> AbstractContextManager[Store]:
        """Return an empty store, closed at the end."""

    def test_what_went_in_comes_out(self) -> None:
        with self.store(QUOTA_BYTES) as store:
            for length_bytes in LENGTHS:
                sample = Sample(length_bytes)
                sample.keep(store)
                blob = store.open(sample.digest)
                assert blob is not None
                assert blob.length_bytes == length_bytes
                assert read(blob, length_bytes) == sample.content
                blob.close()

    def test_a_sha512_blob_is_kept_like_any_other(self) -> None:
        with self.store(QUOTA_BYTES) as store:
            sample = Sample(algorithm="sha512")
            blob = sample.put(store)
            assert read(blob, len(sample.content)) == sample.content
            blob.close()
            assert list(store.digests()) == [(sample.digest, len(sample.content))]

    def test_a_blob_that_is_not_there_is_none(self) -> None:
        with self.store(QUOTA_BYTES) as store:
            assert store.open(Sample().digest) is None
            assert list(store.digests()) == []
            assert store.used_bytes() == 0

    def test_a_blob_is_not_open_to_anyone_before_it_is_committed(self) -> None:
        with self.store(QUOTA_BYTES) as store:
            sample = Sample()
            partial = store.partial(sample.spec)
            for piece in range(sample.spec.pieces):
                sample.put_piece(partial, piece)
            assert store.open(sample.digest) is None
            assert list(store.digests()) == []
            partial.commit().close()
            assert list(store.digests()) == [(sample.digest, len(sample.content))]
            partial.close()

    def test_pieces_can_be_read_while_others_are_still_missing(self) -> None:
        with self.store(QUOTA_BYTES) as store:
            sample = Sample()
            partial = store.partial(sample.spec)
            sample.put_piece(partial, 1)
            assert os.pread(partial.fd, sample.spec.size(1), sample.spec.offset(1)) == (
                sample.piece(1)
            )
            assert partial.held() == {1: sample.hash(1)}
            partial.close()

    def test_the_descriptor_of_a_partial_blob_outlives_commit_until_close(self) -> None:
        with self.store(QUOTA_BYTES) as store:
            sample = Sample()
            partial = store.partial(sample.spec)
            for piece in range(sample.spec.pieces):
                sample.put_piece(partial, piece)
            blob = partial.commit()
            assert read(partial, len(sample.content)) == sample.content
            blob.close()
            partial.discard()  # nothing: it is committed
            assert read(partial, len(sample.content)) == sample.content
            partial.close()
            partial.close()
            assert list(store.digests()) == [(sample.digest, len(sample.content))]

    def test_a_closed_partial_blob_is_resumed_with_what_it_held(self) -> None:
        with self.store(QUOTA_BYTES) as store:
            sample = Sample()
            partial = store.partial(sample.spec)
            sample.put_piece(partial, 0)
            sample.put_piece(partial, 2)
            partial.close()
            again = store.partial(sample.spec)
            assert again.spec == sample.spec
            assert again.held() == {0: sample.hash(0), 2: sample.hash(2)}
            sample.put_piece(again, 1)
            blob = again.commit()
            assert read(blob, len(sample.content)) == sample.content
            blob.close()
            again.close()

    def test_a_discarded_blob_starts_anew(self) -> None:
        with self.store(QUOTA_BYTES) as store:
            sample = Sample()
            partial = store.partial(sample.spec)
            sample.put_piece(partial, 0)
            partial.discard()
            partial.discard()
            partial.close()
            assert store.used_bytes() == 0
            again = store.partial(sample.spec)
            assert again.held() == {}
            again.discard()
            again.close()

    def test_readers_keep_a_discarded_blob_and_its_bytes_count_until_they_close(self) -> None:
        with self.store(QUOTA_BYTES) as store:
            sample = Sample()
            partial = store.partial(sample.spec)
            sample.put_piece(partial, 0)
            partial.discard()
            assert os.pread(partial.fd, sample.spec.size(0), 0) == sample.piece(0)
            assert store.used_bytes() == len(sample.content)
            refused(StoreError, partial.commit)
            partial.close()
            assert store.used_bytes() == 0

    def test_a_blob_is_received_once_at_a_time(self) -> None:
        with self.store(QUOTA_BYTES) as store:
            sample = Sample()
            partial = store.partial(sample.spec)
            refused(StoreError, lambda: store.partial(sample.spec))
            partial.close()
            store.partial(sample.spec).close()

    def test_two_registries_may_bring_the_same_blob_at_once(self) -> None:
        with self.store(QUOTA_BYTES) as store:
            one, two = Sample(registry="one.example"), Sample(registry="two.example")
            first, second = store.partial(one.spec), store.partial(two.spec)
            for piece in range(one.spec.pieces):
                one.put_piece(first, piece)
                two.put_piece(second, piece)
            blobs = first.commit(), second.commit()
            for blob in blobs:
                assert read(blob, len(one.content)) == one.content
            assert list(store.digests()) == [(one.digest, len(one.content))]
            for thing in (*blobs, first, second):
                thing.close()
            assert store.used_bytes() == len(one.content)

    def test_a_piece_that_is_marked_again_has_its_new_hash(self) -> None:
        with self.store(QUOTA_BYTES) as store:
            sample = Sample()
            partial = store.partial(sample.spec)
            partial.write(0, bytes(sample.spec.size(0)))
            partial.mark(0, blake3(bytes(sample.spec.size(0))).digest())
            sample.put_piece(partial, 0)
            assert partial.held() == {0: sample.hash(0)}
            partial.close()
            again = store.partial(sample.spec)
            assert again.held() == {0: sample.hash(0)}
            again.close()

    def test_what_is_outside_the_blob_is_refused(self) -> None:
        with self.store(QUOTA_BYTES) as store:
            sample = Sample()
            partial = store.partial(sample.spec)
            refused(ValueError, lambda: partial.write(len(sample.content), b"x"))
            refused(ValueError, lambda: partial.write(-1, b"x"))
            refused(ValueError, lambda: partial.mark(sample.spec.pieces, bytes(32)))
            refused(ValueError, lambda: partial.mark(-1, bytes(32)))
            refused(ValueError, lambda: partial.mark(0, bytes(31)))
            assert partial.held() == {}
            partial.close()

    def test_what_is_closed_is_not_used(self) -> None:
        with self.store(QUOTA_BYTES) as store:
            sample = Sample()
            partial = store.partial(sample.spec)
            sample.put_piece(partial, 0)
            partial.close()
            refused(StoreError, lambda: partial.write(0, b"x"))
            refused(StoreError, lambda: partial.mark(1, bytes(32)))
            refused(StoreError, lambda: partial.fd)
            refused(StoreError, partial.commit)
            blob = sample.put(store)
            blob.close()
            blob.close()
            refused(StoreError, lambda: blob.fd)

    def test_a_partial_blob_counts_at_its_full_length_from_the_start(self) -> None:
        with self.store(QUOTA_BYTES) as store:
            sample = Sample()
            partial = store.partial(sample.spec)
            assert store.used_bytes() == len(sample.content)
            partial.commit().close()
            assert store.used_bytes() == len(sample.content)
            partial.close()
            assert store.used_bytes() == len(sample.content)

    def test_the_least_recently_used_blob_goes_first(self) -> None:
        with self.store(3 * MIB) as store:
            old, used, new = (Sample(MIB, seed=seed) for seed in range(3))
            for sample in (old, used, new):
                sample.keep(store)
            first = store.open(old.digest)
            assert first is not None
            first.close()
            Sample(MIB, seed=3).keep(store)
            assert store.open(used.digest) is None
            kept = [digest for digest, _ in store.digests()]
            assert old.digest in kept
            assert new.digest in kept
            assert store.used_bytes() == 3 * MIB

    def test_nothing_is_evicted_while_it_is_read_or_arriving(self) -> None:
        with self.store(3 * MIB) as store:
            read_now, arriving, other = (Sample(MIB, seed=seed) for seed in range(3))
            blob = read_now.put(store)
            partial = store.partial(arriving.spec)
            other.keep(store)
            big = Sample(2 * MIB, seed=9)
            refused(StoreFull, lambda: store.partial(big.spec))
            assert [digest for digest, _ in store.digests()] == [read_now.digest, other.digest]
            assert read(blob, MIB) == read_now.content
            blob.close()
            big.keep(store)
            assert [digest for digest, _ in store.digests()] == [big.digest]
            partial.close()

    def test_a_committed_blob_is_not_evicted_before_its_partial_is_closed(self) -> None:
        with self.store(MIB) as store:
            sample, other = Sample(MIB), Sample(MIB, seed=1)
            partial = store.partial(sample.spec)
            partial.commit().close()
            refused(StoreFull, lambda: store.partial(other.spec))
            partial.close()
            store.partial(other.spec).close()

    def test_a_partial_blob_that_nobody_receives_makes_room(self) -> None:
        with self.store(MIB) as store:
            abandoned = store.partial(Sample(MIB).spec)
            abandoned.close()
            Sample(MIB, seed=1).keep(store)
            assert store.used_bytes() == MIB

    def test_a_blob_over_the_quota_is_refused_and_evicts_nothing(self) -> None:
        with self.store(MIB) as store:
            small = Sample(MIB // 2)
            small.keep(store)
            refused(StoreFull, lambda: store.partial(Sample(MIB + 1, seed=1).spec))
            assert [digest for digest, _ in store.digests()] == [small.digest]

    def test_an_empty_blob_fits_a_full_store(self) -> None:
        with self.store(MIB) as store:
            full, empty = Sample(MIB), Sample(0)
            blob = full.put(store)
            empty.keep(store)
            blob.close()
            assert len(list(store.digests())) == 2

    def test_threads_may_write_one_blob_together(self) -> None:
        with self.store(QUOTA_BYTES) as store:
            sample = Sample(32 * MIN_PIECE_BYTES)
            partial = store.partial(sample.spec)
            with ThreadPoolExecutor(4) as threads:
                list(threads.map(lambda p: sample.put_piece(partial, p), range(32)))
            assert partial.held() == sample.hashes()
            partial.close()
            again = store.partial(sample.spec)
            assert again.held() == sample.hashes()
            blob = again.commit()
            assert read(blob, len(sample.content)) == sample.content
            blob.close()
            again.close()

    def test_threads_may_bring_blobs_into_a_store_that_is_too_small_for_all(self) -> None:
        with self.store(4 * MIB) as store:
            samples = [Sample(MIB, seed=seed) for seed in range(12)]

            def bring(sample: Sample) -> bool:
                try:
                    blob = sample.put(store)
                except StoreFull:
                    return False
                right = read(blob, MIB) == sample.content
                blob.close()
                return right

            with ThreadPoolExecutor(4) as threads:
                assert all(threads.map(bring, samples))
            assert store.used_bytes() == 4 * MIB
            assert len(list(store.digests())) == 4

    def test_closing_a_store_twice_does_nothing(self) -> None:
        with self.store(QUOTA_BYTES) as store:
            blob = Sample(MIB).put(store)
            store.close()
            store.close()
            assert read(blob, MIB) == Sample(MIB).content
            blob.close()
