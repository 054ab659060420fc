"""Contest: which pieces are fetched anew, by whom, and how often at most."""

from shoal.core.peer import PeerId
from shoal.core.swarm.contest import NODES_MOST, Contest

A, B, C = PeerId("a"), PeerId("b"), PeerId("c")


def test_what_somebody_vouched_for_in_vain_is_for_others_to_fetch() -> None:
    it = Contest()
    it.hear(B, A, 0b0110)
    it.hear(B, B, 0b1000)
    assert it.open_pieces == 0b1110
    assert it.barred(B, others=[C]) == 0b1000
    it.hear(A, A, 0)
    assert it.barred(A, others=[B]) == 0b0110


def test_who_has_not_complained_is_not_asked_for_what_it_believes() -> None:
    it = Contest()
    it.hear(B, A, 0b0110)
    assert it.barred(C, others=[A, B]) == 0b0110
    it.hear(C, A, 0b0110)
    assert it.barred(C, others=[A, B]) == 0


def test_where_nobody_else_could_a_node_may_fetch_what_it_vouched_for() -> None:
    it = Contest()
    it.hear(A, A, 0b0011)
    it.hear(A, B, 0b0110)
    assert it.barred(A, others=[]) == 0
    assert it.barred(A, others=[B]) == 0b0001, "the other piece is not for B either"


def test_a_piece_is_contested_once_for_each_that_vouches_however_many_complain() -> None:
    it = Contest()
    it.hear(B, A, 0b1)
    it.open_pieces = 0  # it was fetched anew
    it.hear(C, A, 0b1)
    assert it.open_pieces == 0
    it.hear(C, B, 0b1)
    assert it.open_pieces == 0b1


def test_no_more_nodes_are_remembered_than_a_tracker_knows() -> None:
    it = Contest()
    for number in range(NODES_MOST + 5):
        it.hear(PeerId(f"complainant {number}"), PeerId(f"signer {number}"), 0b1)
    assert len(it.suspected) == len(it.complainants) == NODES_MOST
