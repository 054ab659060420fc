"""Every byte that a store holds counts once."""

from random import Random

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from shoal.adapters.store.ledger import BlobKey, Entry, Ledger
from shoal.core.blob import BlobTag
from shoal.core.digest import Digest
from shoal.core.errors import StoreFull

ONE, TWO = (Digest.parse("sha256:" + digit * 64) for digit in "12")
TAG = BlobTag(bytes(16))
QUOTA_BYTES = 100


def admit(ledger: Ledger, key: BlobKey, size_bytes: int) -> tuple[Entry, tuple[Entry, ...]]:
    entry, admission = ledger.admit(key, size_bytes, free_bytes=None, reserve_bytes=0)
    return entry, admission.evict


def test_what_is_entered_counts_and_is_listed_once() -> None:
    ledger = Ledger(quota_bytes=QUOTA_BYTES)
    ledger.enter(ONE, 10)
    ledger.enter(TWO, 20, proven=False)
    assert ledger.used_bytes == 30
    assert ledger.digests() == [(ONE, 10)]
    with pytest.raises(ValueError, match="listed already"):
        ledger.enter(ONE, 10)


def test_a_blob_whose_digest_was_checked_is_listed() -> None:
    ledger = Ledger(quota_bytes=QUOTA_BYTES)
    ledger.prove(ledger.enter(TWO, 20, proven=False))
    assert ledger.digests() == [(TWO, 20)]


def test_a_refused_blob_changes_nothing() -> None:
    ledger = Ledger(quota_bytes=QUOTA_BYTES)
    ledger.enter(ONE, 60)
    ledger.enter(TWO, 40)
    ledger.pin(ONE)
    with pytest.raises(StoreFull):
        admit(ledger, TAG, 50)
    assert ledger.used_bytes == 100
    assert ledger.get(TAG) is None
    assert ledger.get(TWO) is not None


def test_an_admitted_blob_is_pinned_and_its_victims_are_off_the_list() -> None:
    ledger = Ledger(quota_bytes=QUOTA_BYTES)
    old = ledger.enter(ONE, 60)
    entry, evicted = admit(ledger, TAG, 50)
    assert evicted == (old,)
    assert entry.pins == 1
    assert ledger.get(ONE) is None
    assert ledger.used_bytes == 50
    assert ledger.arriving() == [(TAG, entry)]


def test_victims_come_back_if_the_blob_could_not_be_made() -> None:
    ledger = Ledger(quota_bytes=QUOTA_BYTES)
    old = ledger.enter(ONE, 60)
    entry, evicted = admit(ledger, TAG, 50)
    ledger.remove(entry)
    ledger.unpin(entry)
    ledger.restore(evicted)
    assert ledger.get(ONE) is old
    assert ledger.used_bytes == 60


def test_what_is_removed_while_open_counts_until_the_last_user_goes() -> None:
    ledger = Ledger(quota_bytes=QUOTA_BYTES)
    entry = ledger.enter(ONE, 60)
    ledger.pin(ONE)
    ledger.pin(ONE)
    ledger.remove(entry)
    ledger.remove(entry)
    assert ledger.pin(ONE) is None
    assert ledger.used_bytes == 60
    ledger.unpin(entry)
    assert ledger.used_bytes == 60
    ledger.unpin(entry)
    assert ledger.used_bytes == 0


def test_a_use_makes_a_blob_the_last_to_go() -> None:
    ledger = Ledger(quota_bytes=QUOTA_BYTES)
    first, second = ledger.enter(ONE, 50), ledger.enter(TWO, 50)
    ledger.pin(ONE)
    ledger.unpin(first)
    assert admit(ledger, TAG, 10)[1] == (second,)


def test_a_renamed_entry_takes_the_place_of_what_was_there() -> None:
    ledger = Ledger(quota_bytes=QUOTA_BYTES)
    ledger.enter(ONE, 30, proven=False)
    entry, _ = admit(ledger, TAG, 30)
    ledger.rename(entry, ONE)
    assert ledger.get(ONE) is entry
    assert ledger.get(TAG) is None
    assert ledger.used_bytes == 30


def test_a_lowered_quota_takes_off_what_exceeds_it() -> None:
    ledger = Ledger(quota_bytes=QUOTA_BYTES)
    old = ledger.enter(ONE, 60)
    ledger.enter(TWO, 60)
    assert ledger.shrink() == [old]
    assert ledger.shrink() == []
    assert ledger.used_bytes == 60


class Accounts(RuleBasedStateMachine):
    """Opens and closes in any order what the ledger says is there; counts by hand."""

    def __init__(self) -> None:
        super().__init__()
        self.ledger = Ledger(quota_bytes=QUOTA_BYTES)
        self.listed: dict[BlobKey, Entry] = {}
        self.pinned: list[Entry] = []
        self.serial = 0

    @rule(size_bytes=st.integers(0, 60))
    def admit(self, size_bytes: int) -> None:
        """Bring in a blob."""
        self.serial += 1
        key = BlobTag(self.serial.to_bytes(16, "big"))
        try:
            entry, evicted = admit(self.ledger, key, size_bytes)
        except StoreFull:
            pinned_bytes = sum(e.size_bytes for e in set(self.pinned))
            assert size_bytes + pinned_bytes > QUOTA_BYTES
            return
        for victim in evicted:
            assert victim not in self.pinned
            del self.listed[victim.key]
        self.listed[key] = entry
        self.pinned.append(entry)

    @precondition(lambda self: self.listed)
    @rule(pick=st.randoms(use_true_random=False))
    def open(self, pick: Random) -> None:
        """Use a blob."""
        key = pick.choice(sorted(self.listed))
        entry = self.ledger.pin(key)
        assert entry is self.listed[key]
        self.pinned.append(entry)

    @precondition(lambda self: self.pinned)
    @rule(pick=st.randoms(use_true_random=False))
    def close(self, pick: Random) -> None:
        """Let go of a blob."""
        self.ledger.unpin(self.pinned.pop(pick.randrange(len(self.pinned))))

    @precondition(lambda self: self.listed)
    @rule(pick=st.randoms(use_true_random=False))
    def remove(self, pick: Random) -> None:
        """Drop a blob, open or not."""
        self.ledger.remove(self.listed.pop(pick.choice(sorted(self.listed))))

    @invariant()
    def every_byte_on_the_disk_counts_once(self) -> None:
        """Count again what is listed, and what is not but still open."""
        alive = set(self.listed.values()) | set(self.pinned)
        assert self.ledger.used_bytes == sum(entry.size_bytes for entry in alive)
        assert self.ledger.used_bytes <= QUOTA_BYTES


TestAccounts = Accounts.TestCase
