"""Contest: which pieces are fetched anew, by whom, and how often at most."""

from shoal.core.blob import BlobTag
from shoal.core.peer import PeerId
from shoal.core.swarm.contest import NODES_MOST, Contest
from shoal.core.swarm.tracker import CONTESTS_MOST, Replies
from shoal.core.wire.messages import Suspects
from shoal.testing.swarm_script import blob
from unit.core.swarm.desk import A, B, C, D, Desk, granted

ALL = 0b1111


def test_what_somebody_vouched_for_in_vain_is_for_others_to_fetch() -> None:
    it = Contest()
    it.hear(B, A, 0b0110)
    it.hear(B, B, 0b1000)
    assert it.open_pieces == 0b1110
    assert it.barred(B, available=ALL, others=[C]) == 0b1000
    it.hear(A, A, 0)
    assert it.barred(A, available=ALL, others=[B]) == 0b0110


def test_who_has_not_complained_is_not_asked_for_what_it_believes() -> None:
    it = Contest()
    it.hear(B, A, 0b0110)
    assert it.barred(C, available=ALL, others=[A, B]) == 0b0110
    it.hear(C, A, 0b0110)
    assert it.barred(C, available=ALL, others=[A, B]) == 0


def test_who_has_not_complained_may_fetch_what_is_nowhere_any_more() -> None:
    it = Contest()
    it.hear(B, A, 0b0110)
    assert it.barred(C, available=0b1011, others=[A, B]) == 0b0010


def test_where_nobody_else_could_a_node_may_fetch_what_it_vouched_for() -> None:
    it = Contest()
    it.hear(A, A, 0b0011)
    it.hear(A, B, 0b0110)
    assert it.barred(A, available=ALL, others=[]) == 0
    assert it.barred(A, available=ALL, others=[B]) == 0b0001, "the other piece is not for B either"


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


# --- what a tracker makes of it ---------------------------------------------------------------


def complain(desk: Desk, peer: PeerId, *brought: tuple[PeerId, int]) -> Replies:
    message = Suspects(desk.spec.tag, brought)
    return desk.checked(desk.tracker.told_suspects(peer, message, now_s=desk.now_s))


def held_by_c() -> Desk:
    """A desk at which a and b want what c has."""
    desk = Desk()
    desk.announce(C, held=0b1111, wants=False)
    desk.announce(A)
    desk.announce(B)
    return desk


def test_what_was_not_believed_is_leased_to_another_than_who_vouched_for_it() -> None:
    desk = held_by_c()
    assert not granted(desk.want(A))
    leases = granted(complain(desk, A, (B, 0b0011)))
    leases += granted(complain(desk, B, (B, 0b0011)))
    leases += granted(desk.want(B)) + granted(desk.want(A))
    assert {to for to, _, _ in leases} == {A}
    assert {first for _, first, _ in leases} <= {0, 1}


def test_what_was_fetched_anew_is_there_and_not_leased_again_for_the_same_complaint() -> None:
    desk = held_by_c()
    assert granted(complain(desk, A, (C, 0b0001))) == [(A, 0, 1)]
    desk.end(A, 0, 1)
    complain(desk, B, (C, 0b0001))
    assert not granted(desk.want(B))


def test_complaints_of_strangers_and_of_pieces_that_are_not_there_change_nothing() -> None:
    desk = held_by_c()
    complain(desk, D, (C, 0b0001))
    complain(desk, A, (C, 0b1_0000))
    assert not granted(desk.want(A))
    assert desk.tracker.told_suspects(A, Suspects(BlobTag(bytes(16)), ()), now_s=0.0) == []


def test_it_is_remembered_who_was_not_believed_when_all_have_left_and_come_back() -> None:
    desk = Desk()
    desk.announce(A)
    desk.announce(B)
    complain(desk, A, (A, 0b1111))
    for peer in (A, B):
        desk.leave(peer)
    desk.announce(A)
    desk.announce(B)
    assert not granted(desk.want(A))
    assert {to for to, _, _ in granted(desk.want(B))} == {B}


def test_a_blob_that_only_its_tracker_had_and_did_not_believe_is_leased_to_who_comes_next() -> None:
    desk = Desk()
    desk.announce(A)
    assert granted(desk.want(A))
    desk.end(A, 0, 4)
    desk.announce(B)
    complain(desk, A, (A, 0b1111))
    leases = granted(desk.leave(A)) + granted(desk.want(B))
    assert {to for to, _, _ in leases} == {B}, "its registry may be a better one"


def test_no_more_contests_are_remembered_than_fit() -> None:
    desk = Desk()
    for number in range(CONTESTS_MOST + 3):
        spec = blob(name=f"blob {number}")
        desk.announce(A, spec=spec)
        desk.tracker.told_suspects(A, Suspects(spec.tag, ((A, 1),)), now_s=desk.now_s)
    assert len(desk.tracker.contests) == CONTESTS_MOST
