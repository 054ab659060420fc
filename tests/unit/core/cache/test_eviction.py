"""What goes from a full store."""

from hypothesis import given
from hypothesis import strategies as st

from shoal.core.cache.eviction import Candidate, victims

CANDIDATES = st.lists(
    st.tuples(st.integers(0, 40), st.integers(0, 9), st.booleans()), max_size=12
).map(
    lambda rows: [
        Candidate(key, size_bytes, last_use, pinned)
        for key, (size_bytes, last_use, pinned) in enumerate(rows)
    ]
)


def test_the_longest_unused_goes_first() -> None:
    kept = [Candidate("new", 10, 3), Candidate("old", 10, 1), Candidate("middle", 10, 2)]
    assert victims(kept, needed_bytes=15) == ["old", "middle"]


def test_nothing_goes_if_nothing_is_needed() -> None:
    assert victims([Candidate("a", 10, 1)], needed_bytes=0) == []
    assert victims([Candidate("a", 10, 1)], needed_bytes=-5) == []


def test_what_is_pinned_stays_though_it_is_the_oldest() -> None:
    kept = [Candidate("pinned", 10, 1, pinned=True), Candidate("loose", 10, 2)]
    assert victims(kept, needed_bytes=10) == ["loose"]
    assert victims(kept, needed_bytes=11) is None


def test_a_small_old_blob_survives_where_a_large_one_has_to_go_and_is_enough() -> None:
    kept = [Candidate("small", 1, 1), Candidate("large", 100, 2), Candidate("newest", 100, 3)]
    assert victims(kept, needed_bytes=50) == ["large"]


def test_an_empty_blob_is_never_dropped() -> None:
    assert victims([Candidate("empty", 0, 1), Candidate("full", 1, 2)], needed_bytes=1) == ["full"]


@given(CANDIDATES, st.integers(1, 200))
def test_victims_are_loose_enough_and_each_is_needed(
    kept: list[Candidate[int]], needed_bytes: int
) -> None:
    chosen = victims(kept, needed_bytes=needed_bytes)
    loose_bytes = sum(c.size_bytes for c in kept if not c.pinned)
    if chosen is None:
        assert loose_bytes < needed_bytes
        return
    assert len(set(chosen)) == len(chosen)
    gone = [kept[key] for key in chosen]
    freed_bytes = sum(c.size_bytes for c in gone)
    assert freed_bytes >= needed_bytes
    assert not any(c.pinned for c in gone)
    assert all(freed_bytes - c.size_bytes < needed_bytes for c in gone)
    assert [c.last_use for c in gone] == sorted(c.last_use for c in gone)


@given(CANDIDATES, st.integers(1, 200))
def test_what_was_used_after_the_last_victim_is_never_touched_for_less(
    kept: list[Candidate[int]], needed_bytes: int
) -> None:
    chosen = victims(kept, needed_bytes=needed_bytes)
    if not chosen:
        return
    last_use = max(kept[key].last_use for key in chosen)
    older_bytes = sum(c.size_bytes for c in kept if not c.pinned and c.last_use < last_use)
    assert older_bytes < needed_bytes
