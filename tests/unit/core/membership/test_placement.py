"""Placement: every node comes to the same tracker, and few blobs move when a member goes."""

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from shoal.core.blob import BlobTag
from shoal.core.membership.placement import (
    DEPUTIES,
    FIRST,
    KEYS_MOST,
    deputy_keys,
    in_turn,
    precedes,
    ranked,
    shards,
)
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


def test_a_site_whose_tracker_can_hear_all_is_not_cut() -> None:
    assert shards(1, heard_most=192) == shards(192, heard_most=192) == 1


@given(st.integers(193, 1_000_000), st.integers(1, 192))
def test_a_deputy_hears_of_no_more_than_it_can_and_of_half_of_that_at_least(
    members: int, heard_most: int
) -> None:
    parts = shards(members, heard_most=heard_most)
    assert heard_most / 2 < DEPUTIES * members / parts <= heard_most or parts == 2
    assert parts & (parts - 1) == 0


def test_each_node_has_two_deputies_who_share_the_nodes_evenly() -> None:
    nodes = [PeerId(f"10.0.{number // 250}.{number % 250}:65002") for number in range(2000)]
    lots = [deputy_keys(TAGS[0], node, 16) for node in nodes]
    assert all(one != other for one, other in lots)
    heard = Counter(key for pair in lots for key in pair)
    assert len(heard) == 16
    assert max(heard.values()) <= 1.4 * DEPUTIES * len(nodes) / 16
    assert len(set(map(frozenset, lots))) == 16 * 15 / 2, "who share one deputy do not share both"


def test_two_parts_are_both_of_every_node() -> None:
    assert len(set(deputy_keys(TAGS[0], MEMBERS[0], 2))) == 2


def test_what_is_remembered_of_one_view_is_bounded_and_right() -> None:
    view = frozenset(MEMBERS)
    for number in range(KEYS_MOST + 2):
        tag = BlobTag(number.to_bytes(16, "little"))
        assert next(in_turn(tag, view)) == ranked(tag, MEMBERS)[0]
