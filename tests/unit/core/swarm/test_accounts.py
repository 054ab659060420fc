"""Accounts: from what members signed, who may have lied, whom to believe, whom to name."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shoal.core.peer import PeerId
from shoal.core.swarm.accounts import SAID_MOST, Accounts

ME, A, B, C = PeerId("me"), PeerId("a"), PeerId("b"), PeerId("c")
RIGHT, WRONG, WORSE = b"right", b"wrong", b"worse"


def after(vouched: dict[int, tuple[PeerId, bytes]]) -> Accounts:
    """What is known when a blob with these pieces came wrong once."""
    accounts = Accounts(ME)
    accounts.came_wrong(vouched)
    return accounts


def test_who_alone_vouched_for_a_blob_that_is_wrong_is_the_liar() -> None:
    accounts = after({0: (A, WRONG), 1: (A, WRONG)})
    assert accounts.liar == A
    assert accounts.believes(0, B, RIGHT)
    assert not accounts.believes(0, A, RIGHT)
    assert not accounts.believes(1, A, WRONG)


def test_where_a_restart_lost_who_vouched_for_the_rest_nobody_is_suspected_yet() -> None:
    accounts = Accounts(ME)
    accounts.came_wrong({1: (B, RIGHT)}, is_all=False)
    assert accounts.liar is None
    assert not accounts.misled
    assert accounts.believes(0, A, WRONG), "nothing is known of that piece"
    accounts.came_wrong({0: (A, WRONG), 1: (C, RIGHT)})
    assert accounts.suspects == {A, C}, "B had no part in it this time"
    accounts.hear(0, B, RIGHT)
    accounts.hear(0, C, RIGHT)
    assert accounts.liar == A
    assert accounts.liars({0: RIGHT, 1: RIGHT}) == {A: [0]}


def test_nobody_is_believed_again_for_what_he_said_of_a_wrong_blob_but_with_anothers_word() -> None:
    accounts = after({0: (A, WRONG), 1: (B, RIGHT), 2: (C, RIGHT)})
    assert accounts.liar is None
    assert not accounts.believes(1, B, RIGHT)
    accounts.hear(1, C, RIGHT)
    assert accounts.believes(1, B, RIGHT)


def test_where_two_agree_both_are_believed() -> None:
    accounts = after({0: (A, WRONG), 1: (B, RIGHT), 2: (C, RIGHT)})
    assert accounts.believes(1, C, RIGHT)


def test_where_two_differ_neither_is_believed_until_it_shows_who_lies() -> None:
    accounts = after({0: (A, WRONG), 1: (B, RIGHT), 2: (C, RIGHT), 3: (A, WRONG)})
    assert not accounts.believes(0, B, RIGHT)
    assert accounts.hear(0, B, RIGHT)
    assert accounts.suspects == {A, B}
    assert not accounts.believes(0, B, RIGHT)
    assert accounts.believes(3, C, RIGHT), "with that it is A who differs with both"
    assert accounts.hear(3, C, RIGHT)
    assert accounts.liar == A
    assert accounts.believes(0, B, RIGHT)


def test_a_third_word_tells_which_of_two_is_wrong() -> None:
    accounts = after({0: (A, WRONG), 1: (B, RIGHT)})
    accounts.hear(0, B, RIGHT)
    assert accounts.believes(0, C, RIGHT)
    accounts.hear(0, C, RIGHT)
    assert accounts.liar == A


def test_who_had_no_part_in_the_wrong_blob_is_believed_before_who_had() -> None:
    accounts = after({0: (A, WRONG), 1: (B, RIGHT)})
    assert accounts.believes(0, C, RIGHT)


def test_this_node_believes_itself_before_another_but_not_for_ever() -> None:
    accounts = after({0: (A, WRONG), 1: (ME, RIGHT), 2: (B, RIGHT)})
    accounts.hear(0, ME, RIGHT)
    assert accounts.liar == A
    assert not accounts.misled
    assert accounts.believes(1, ME, RIGHT)
    accounts.came_wrong({0: (ME, RIGHT), 1: (A, RIGHT)})
    assert accounts.liar is None
    assert accounts.misled


def test_a_node_that_differs_with_two_others_is_misled_itself() -> None:
    accounts = after({0: (ME, WRONG), 1: (A, RIGHT), 2: (ME, WRONG), 3: (B, RIGHT)})
    accounts.hear(0, A, RIGHT)
    assert accounts.liar == A
    accounts.hear(2, B, RIGHT)
    assert accounts.misled
    assert accounts.believes(0, A, RIGHT)


def test_who_says_two_things_of_a_piece_is_held_to_the_first_and_believed_no_more() -> None:
    accounts = after({0: (A, WRONG), 1: (B, RIGHT), 2: (C, RIGHT)})
    assert not accounts.believes(0, A, RIGHT)
    assert accounts.hear(0, A, RIGHT)
    assert accounts.liar == A
    assert accounts.liars({0: RIGHT, 1: RIGHT}) == {A: [0]}


def test_everyone_who_said_something_else_than_was_right_is_named() -> None:
    accounts = after({0: (A, WRONG), 1: (B, WORSE), 2: (C, RIGHT), 3: (A, WRONG)})
    assert accounts.liars(dict.fromkeys(range(3), RIGHT)) == {A: [0], B: [1]}


def test_where_no_single_one_can_have_lied_only_two_that_agree_are_believed() -> None:
    accounts = after({0: (A, WRONG), 1: (B, WRONG), 2: (C, RIGHT)})
    accounts.hear(0, C, RIGHT)
    accounts.hear(1, PeerId("d"), RIGHT)
    assert accounts.suspects == frozenset()
    assert accounts.liar is None
    assert accounts.believes(0, PeerId("e"), RIGHT)
    assert not accounts.believes(0, PeerId("e"), WORSE)


def test_no_more_than_a_few_words_are_remembered_of_a_piece() -> None:
    accounts = after({0: (A, WRONG)})
    for number in range(3 * SAID_MOST):
        accounts.hear(0, PeerId(str(number)), RIGHT)
    assert len(accounts.said[0]) == SAID_MOST


SITE = [PeerId(f"n{number}") for number in range(4)]


@given(st.data(), st.integers(0, 3), st.integers(1, 6))
def test_one_liar_never_makes_a_node_take_a_wrong_piece_twice_nor_name_anybody_else(
    data: st.DataObject, liar: int, pieces: int
) -> None:
    # Whatever it lies about, and whoever fetches what in either round; seen by an honest node.
    me = SITE[(liar + 1) % len(SITE)]

    def word(signer: PeerId) -> bytes:
        return RIGHT if signer != SITE[liar] else data.draw(st.sampled_from([RIGHT, WRONG]))

    fetchers = st.sampled_from(SITE)
    first = {piece: (signer := data.draw(fetchers), word(signer)) for piece in range(pieces)}
    if all(hash_ == RIGHT for _, hash_ in first.values()):
        return
    accounts = Accounts(me)
    accounts.came_wrong(first)
    for piece in data.draw(st.lists(st.integers(0, pieces - 1), max_size=20)):
        signer = data.draw(fetchers)
        hash_ = word(signer)
        if accounts.believes(piece, signer, hash_):
            assert hash_ == RIGHT
        accounts.hear(piece, signer, hash_)
    assert set(accounts.liars(dict.fromkeys(range(pieces), RIGHT))) == {SITE[liar]}
    assert SITE[liar] in accounts.suspects


@pytest.mark.parametrize("signers", [(A,), (A, B), (A, B, C)])
def test_suspects_are_who_vouched_for_the_wrong_blob(signers: tuple[PeerId, ...]) -> None:
    vouched = {piece: (signer, RIGHT) for piece, signer in enumerate(signers)}
    assert after(vouched).suspects == set(signers)
