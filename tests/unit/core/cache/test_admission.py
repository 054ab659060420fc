"""What may come into a store."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shoal.core.cache.admission import Admission, Room, admit
from shoal.core.cache.eviction import Candidate
from shoal.core.errors import StoreFull


def test_a_blob_that_fits_evicts_nothing() -> None:
    room = Room(quota_bytes=100, used_bytes=40, free_bytes=70, reserve_bytes=10)
    assert admit(60, room=room, candidates=[Candidate("a", 40, 1)]) == Admission()


def test_a_full_quota_evicts_and_does_not_hurry() -> None:
    room = Room(quota_bytes=100, used_bytes=100, free_bytes=1000)
    kept = [Candidate("old", 50, 1), Candidate("new", 50, 2)]
    assert admit(10, room=room, candidates=kept) == Admission(("old",), disk_is_short=False)


def test_a_short_disk_evicts_to_keep_the_reserve() -> None:
    room = Room(quota_bytes=1000, used_bytes=100, free_bytes=30, reserve_bytes=20)
    kept = [Candidate("old", 50, 1), Candidate("new", 50, 2)]
    assert admit(60, room=room, candidates=kept) == Admission(("old",), disk_is_short=True)
    assert admit(61, room=room, candidates=kept) == Admission(("old", "new"), disk_is_short=True)


def test_a_blob_larger_than_the_quota_is_refused_with_both_figures() -> None:
    with pytest.raises(StoreFull, match="101 bytes is larger than the store's quota of 100 bytes"):
        admit(101, room=Room(quota_bytes=100, used_bytes=0), candidates=[])


def test_a_quota_in_use_and_a_full_disk_are_told_apart() -> None:
    busy = [Candidate("a", 90, 1, pinned=True)]
    with pytest.raises(StoreFull, match="raise the quota"):
        admit(20, room=Room(quota_bytes=100, used_bytes=90, free_bytes=500), candidates=busy)
    with pytest.raises(StoreFull, match="free some space or lower the reserve"):
        admit(
            20,
            room=Room(quota_bytes=500, used_bytes=90, free_bytes=30, reserve_bytes=20),
            candidates=busy,
        )


def test_an_empty_blob_is_let_in_whatever_is_full() -> None:
    room = Room(quota_bytes=10, used_bytes=15, free_bytes=0, reserve_bytes=100)
    assert admit(0, room=room, candidates=[Candidate("a", 10, 1)]) == Admission()


def test_candidates_are_not_looked_at_while_there_is_room() -> None:
    def never() -> Candidate[str]:
        raise AssertionError

    assert (
        admit(5, room=Room(quota_bytes=10, used_bytes=0), candidates=(never() for _ in range(1)))
        == Admission()
    )


@given(
    st.lists(st.tuples(st.integers(0, 50), st.booleans()), max_size=10),
    st.integers(0, 120),
    st.integers(0, 300),
    st.integers(0, 100),
    st.integers(0, 60),
)
def test_quota_and_reserve_hold_after_every_admission_and_refusals_are_just(
    rows: list[tuple[int, bool]],
    length_bytes: int,
    quota_bytes: int,
    free_bytes: int,
    reserve_bytes: int,
) -> None:
    kept = [Candidate(key, size, key, pinned) for key, (size, pinned) in enumerate(rows)]
    used_bytes = sum(size for size, _ in rows)
    loose_bytes = sum(c.size_bytes for c in kept if not c.pinned)
    room = Room(quota_bytes, used_bytes, free_bytes, reserve_bytes)

    def fits(freed_bytes: int) -> bool:
        return length_bytes == 0 or (
            used_bytes - freed_bytes + length_bytes <= quota_bytes
            and free_bytes + freed_bytes - length_bytes >= reserve_bytes
        )

    try:
        admission = admit(length_bytes, room=room, candidates=kept)
    except StoreFull:
        assert not fits(loose_bytes)
        return
    freed_bytes = sum(kept[key].size_bytes for key in admission.evict)
    assert fits(freed_bytes)
    assert not any(kept[key].pinned for key in admission.evict)
    if admission.evict:
        assert not fits(0)
