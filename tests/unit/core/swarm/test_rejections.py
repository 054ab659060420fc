"""Rejections: who is doubted after a blob was wrong, who is blamed, and for how long."""

from shoal.core.peer import PeerId
from shoal.core.swarm.rejections import (
    REJECTIONS_MOST,
    TIMES_MOST,
    TIMES_VOUCHED_MOST,
    Rejections,
)
from shoal.testing.swarm_script import blob

ME, A, B = PeerId("me"), PeerId("a"), PeerId("b")
TAG, OTHER = blob().tag, blob(name="other").tag


def test_who_exchanged_a_wrong_blob_is_doubted_until_he_says_that_he_has_it_no_more() -> None:
    it = Rejections()
    it.rejected(TAG, {A: True, B: False})
    assert it.doubted(TAG) == {A, B}
    it.left(A, TAG)
    it.left(A, TAG)
    assert it.doubted(TAG) == {B}
    it.left(B, blob(name="other").tag)
    assert it.doubted(TAG) == {B}


def test_only_who_said_to_have_checked_it_is_blamed() -> None:
    it = Rejections()
    it.rejected(TAG, {A: True, B: False})
    assert it.blames(A, TAG)
    assert not it.blames(B, TAG)
    assert not it.blames(PeerId("c"), TAG)
    it.left(A, TAG)
    assert not it.blames(A, TAG)


def test_after_two_rejections_nobody_is_believed() -> None:
    it = Rejections()
    for number in range(TIMES_MOST):
        assert not it.believes_nobody(TAG), number
        it.rejected(TAG, {A: True})
    assert it.believes_nobody(TAG)


def test_a_blob_that_is_had_at_last_is_like_any_other() -> None:
    it = Rejections()
    it.rejected(TAG, {A: True})
    it.kept(TAG)
    it.kept(TAG)
    assert not it.doubted(TAG)
    assert not it.blames(A, TAG)


def test_the_oldest_rejection_is_forgotten_for_a_new_one() -> None:
    it = Rejections()
    tags = [blob(name=f"blob {number}").tag for number in range(REJECTIONS_MOST + 1)]
    for tag in tags:
        it.rejected(tag, {A: True})
    assert len(it.by_tag) == REJECTIONS_MOST
    assert not it.doubted(tags[0])
    assert it.doubted(tags[-1]) == {A}


def test_where_pieces_are_vouched_for_who_signed_for_a_wrong_blob_is_doubted_and_no_relay() -> None:
    it = Rejections()
    it.rejected_as_vouched(TAG, {0: (A, b"wrong"), 1: (A, b"wrong")}, me=ME)
    assert it.doubted(TAG) == {A}
    assert it.tells_more(TAG)
    it.kept(TAG)
    assert not it.doubted(TAG)
    assert not it.tells_more(TAG)


def test_of_several_who_signed_nobody_is_doubted_before_it_shows_who_lied() -> None:
    it = Rejections()
    it.rejected_as_vouched(TAG, {0: (A, b"wrong"), 1: (B, b"right")}, me=ME)
    assert not it.doubted(TAG)
    it.accounts[TAG].hear(0, PeerId("c"), b"right")
    assert it.doubted(TAG) == {A}


def test_after_three_rejections_nobodys_word_is_taken_but_by_who_is_misled_itself() -> None:
    it = Rejections()
    for number in range(TIMES_VOUCHED_MOST):
        assert not it.believes_nobody(TAG), number
        it.rejected_as_vouched(TAG, {0: (A, b"wrong"), 1: (B, b"right")}, me=ME)
    assert it.believes_nobody(TAG)
    assert not it.tells_more(TAG)
    for _ in range(TIMES_VOUCHED_MOST + 1):
        it.rejected_as_vouched(OTHER, {0: (ME, b"wrong")}, me=ME)
    assert it.misled(OTHER)
    assert not it.believes_nobody(OTHER)
    assert not it.misled(TAG)


def test_the_oldest_account_is_forgotten_for_a_new_one() -> None:
    it = Rejections()
    for number in range(REJECTIONS_MOST + 1):
        it.rejected_as_vouched(blob(name=f"blob {number}").tag, {0: (A, b"wrong")}, me=ME)
    assert len(it.accounts) == REJECTIONS_MOST
    assert not it.doubted(blob(name="blob 0").tag)
