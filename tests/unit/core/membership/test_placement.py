"""Placement: every node comes to the same tracker, and few blobs move when a member goes."""

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from shoal.core.blob import BlobTag
from shoal.core.membership.placement import FIRST, in_turn, precedes, ranked
from shoal.core.peer import PeerId

MEMBERS = [PeerId(f"10.0.0.{number}:65002") for number in range(1, 11)]
TAGS = [BlobTag(number.to_bytes(16, "big")) for number in range(400)]


def test_the_order_does_not_depend_on_how_members_were_listed() -> None:
    assert ranked(TAGS[0], MEMBERS) == ranked(TAGS[0], reversed(MEMBERS))
    assert ranked(TAGS[0], set(MEMBERS)) == ranked(TAGS[0], MEMBERS)


def test_members_in_turn_are_all_of_them_in_the_same_order() -> None:
    assert len(MEMBERS) > FIRST
    for tag in TAGS[:50]:
        assert list(in_turn(tag, frozenset(MEMBERS))) == ranked(tag, MEMBERS)
        assert list(in_turn(tag, frozenset(MEMBERS[:3]))) == ranked(tag, MEMBERS[:3])


def test_no_members_is_no_order() -> None:
    assert list(in_turn(TAGS[0], frozenset())) == []
    assert ranked(TAGS[0], []) == []


@settings(deadline=None)
@given(st.binary(min_size=16, max_size=16), st.sampled_from(MEMBERS))
def test_a_member_that_leaves_moves_only_what_it_tracked(tag: bytes, gone: PeerId) -> None:
    before = ranked(BlobTag(tag), MEMBERS)
    after = ranked(BlobTag(tag), [member for member in MEMBERS if member != gone])
    assert after == [member for member in before if member != gone]


def test_members_share_the_work_about_evenly() -> None:
    first = Counter(ranked(tag, MEMBERS)[0] for tag in TAGS)
    assert set(first) == set(MEMBERS)
    assert max(first.values()) <= 2 * len(TAGS) / len(MEMBERS)
    # Whoever takes over from one member is not always the same other.
    of_one = [tag for tag in TAGS if ranked(tag, MEMBERS)[0] == MEMBERS[0]]
    assert len({ranked(tag, MEMBERS)[1] for tag in of_one}) > 5


@settings(deadline=None)
@given(st.binary(min_size=16, max_size=16), st.sampled_from(MEMBERS), st.sampled_from(MEMBERS))
def test_who_precedes_whom_is_the_same_order(tag: bytes, one: PeerId, other: PeerId) -> None:
    order = ranked(BlobTag(tag), MEMBERS)
    assert precedes(BlobTag(tag), one, other) == (order.index(one) < order.index(other))
