"""Uploads: few at once, turns taken by peer."""

from collections import deque
from dataclasses import replace

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from shoal.core.blob import BlobTag
from shoal.core.peer import PeerId
from shoal.core.swarm.events import UploadsLimited
from shoal.core.swarm.policy import DEFAULT
from shoal.core.swarm.uploads import ROOM_BY_BLOB, Uploads

A, B, C = (PeerId(name) for name in "abc")
TAG = BlobTag(bytes(16))
OTHER = BlobTag(bytes(15) + b"1")
POLICY = replace(DEFAULT, uploads_at_once=2, requests_queued_most=6)


def served(uploads: Uploads, *, finish: bool = False) -> list[tuple[PeerId, int]]:
    """Begin all that can be begun; with `finish`, until nothing is left."""
    begun = []
    while (upload := uploads.next()) is not None:
        peer, tag, piece = upload
        begun.append((peer, piece))
        if finish:
            uploads.ended(peer, tag, piece)
    return begun


def test_no_more_than_a_few_pieces_are_sent_at_once() -> None:
    uploads = Uploads(POLICY)
    for piece in range(4):
        assert uploads.ask(A, TAG, piece) is None
    assert served(uploads) == [(A, 0), (A, 1)]
    uploads.ended(A, TAG, 0)
    assert served(uploads) == [(A, 2)]


def test_peers_take_turns() -> None:
    uploads = Uploads(POLICY)
    for piece in (1, 2, 3):
        uploads.ask(A, TAG, piece)
    for piece in (4, 5):
        uploads.ask(B, TAG, piece)
    assert served(uploads, finish=True) == [(A, 1), (B, 4), (A, 2), (B, 5), (A, 3)]


def test_a_peer_that_is_being_served_waits_for_one_that_is_not() -> None:
    uploads = Uploads(POLICY)
    uploads.ask(A, TAG, 1)
    assert served(uploads) == [(A, 1)]
    uploads.ask(A, TAG, 2)
    uploads.ask(B, TAG, 3)
    assert served(uploads) == [(B, 3)]


def test_blobs_take_turns_before_peers_do_while_there_is_a_rate_to_share() -> None:
    uploads = Uploads(replace(POLICY, requests_queued_most=20))
    uploads.limited(UploadsLimited(True))
    for peer in (A, B):
        for piece in range(4):
            uploads.ask(peer, TAG, piece)
    for piece in range(10, 13):
        uploads.ask(C, OTHER, piece)
    begun = []
    sending: deque[tuple[PeerId, BlobTag, int]] = deque()
    while (upload := uploads.next()) is not None or sending:
        if upload is not None:
            begun.append(upload[1])
            sending.append(upload)
        else:
            uploads.ended(*sending.popleft())
        uploads.check()
    assert begun[:6].count(OTHER) == 3
    assert len(begun) == 11
    uploads.limited(UploadsLimited(False))
    assert not uploads.by_blob


def test_a_blob_that_waits_behind_another_in_a_peer_s_queue_has_its_turn() -> None:
    uploads = Uploads(POLICY)
    uploads.limited(UploadsLimited(True))
    for piece in (1, 2, 3):
        uploads.ask(A, TAG, piece)
    uploads.ask(A, OTHER, 4)
    assert served(uploads) == [(A, 1), (A, 4)]


def test_requests_for_a_blob_that_is_dropped_are_forgotten_and_no_others() -> None:
    uploads = Uploads(POLICY)
    for piece in (1, 2, 3):
        uploads.ask(A, TAG, piece)
    uploads.ask(A, OTHER, 4)
    uploads.ask(B, TAG, 5)
    assert uploads.next() == (A, TAG, 1)
    uploads.dropped(TAG)
    uploads.check()
    assert uploads.next() == (A, OTHER, 4)
    uploads.ended(A, TAG, 1)
    assert uploads.next() is None


def test_asking_twice_for_a_piece_that_waits_is_asking_once() -> None:
    uploads = Uploads(POLICY)
    assert uploads.ask(A, TAG, 1) is None
    assert uploads.ask(A, TAG, 1) is None
    assert served(uploads, finish=True) == [(A, 1)]


def test_a_request_beyond_the_bound_is_refused() -> None:
    uploads = Uploads(POLICY)
    assert [uploads.ask(A, TAG, piece) for piece in range(7)] == [None] * 6 + [(A, TAG, 6)]
    assert uploads.ask(B, TAG, 0) == (B, TAG, 0)


def test_a_full_queue_makes_room_for_who_has_less() -> None:
    uploads = Uploads(POLICY)
    held = {A: 9, B: 2, C: 5}.__getitem__
    for piece in range(5):
        uploads.ask(A, TAG, piece, held)
    uploads.ask(C, TAG, 0, held)
    assert uploads.ask(B, TAG, 7, held) == (A, TAG, 4)
    assert uploads.ask(A, TAG, 8, held) == (A, TAG, 8)
    uploads.check()
    assert uploads.queued == POLICY.requests_queued_most
    assert uploads.next(held) == (B, TAG, 7)


def test_more_may_wait_while_blobs_take_turns() -> None:
    uploads = Uploads(POLICY)
    uploads.limited(UploadsLimited(True))
    room = ROOM_BY_BLOB * POLICY.requests_queued_most
    assert [uploads.ask(A, TAG, piece) for piece in range(room)] == [None] * room
    assert uploads.ask(A, OTHER, 1) == (A, OTHER, 1)


def test_a_cancelled_request_is_not_served_and_makes_room() -> None:
    uploads = Uploads(POLICY)
    for piece in range(6):
        uploads.ask(A, TAG, piece)
    uploads.cancel(A, TAG, 3)
    uploads.cancel(A, OTHER, 4)  # another blob's piece
    uploads.cancel(B, TAG, 4)  # never asked for
    assert uploads.ask(B, TAG, 4) is None
    assert (A, 3) not in served(uploads, finish=True)


def test_whoever_is_gone_is_not_served_and_frees_its_slots() -> None:
    uploads = Uploads(POLICY)
    for piece in range(3):
        uploads.ask(A, TAG, piece)
    served(uploads)
    uploads.ask(B, TAG, 0)
    uploads.lost(A)
    assert served(uploads) == [(B, 0)]
    assert uploads.queued == 0


def test_the_end_of_what_was_not_begun_changes_nothing() -> None:
    uploads = Uploads(POLICY)
    uploads.ended(A, TAG, 1)
    uploads.cancel(A, TAG, 1)
    uploads.lost(A)
    assert uploads.next() is None


class AnyOrder(RuleBasedStateMachine):
    """Peers ask, cancel and leave in any order; uploads that began end in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.uploads = Uploads(POLICY)
        self.wanted: set[tuple[PeerId, BlobTag, int]] = set()
        self.sending: list[tuple[PeerId, BlobTag, int]] = []

    @rule(
        peer=st.sampled_from((A, B, C)), tag=st.sampled_from((TAG, OTHER)), piece=st.integers(0, 5)
    )
    def ask(self, peer: PeerId, tag: BlobTag, piece: int) -> None:
        """A peer asks for a piece."""
        if self.uploads.ask(peer, tag, piece) is None:
            self.wanted.add((peer, tag, piece))
        else:
            assert len(self.wanted) == POLICY.requests_queued_most

    @precondition(lambda self: self.wanted)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        """A peer no longer needs what it asked for."""
        request = data.draw(st.sampled_from(sorted(self.wanted)))
        self.uploads.cancel(*request)
        self.wanted.discard(request)

    @rule()
    def serve(self) -> None:
        """Free slots are filled."""
        while (upload := self.uploads.next()) is not None:
            self.wanted.remove(upload)
            self.sending.append(upload)

    @precondition(lambda self: self.sending)
    @rule(data=st.data())
    def end(self, data: st.DataObject) -> None:
        """An upload is over."""
        upload = self.sending.pop(data.draw(st.integers(0, len(self.sending) - 1)))
        self.uploads.ended(*upload)

    @rule(peer=st.sampled_from((A, B, C)))
    def lose(self, peer: PeerId) -> None:
        """A peer is gone."""
        self.uploads.lost(peer)
        self.wanted = {request for request in self.wanted if request[0] != peer}
        self.sending = [upload for upload in self.sending if upload[0] != peer]

    @invariant()
    def invariants_hold(self) -> None:
        """Queues and their count agree."""
        self.uploads.check()
        assert self.uploads.queued == len(self.wanted)

    def teardown(self) -> None:
        """Whatever happened, everybody who still waits is served in the end."""
        for upload in self.sending:
            self.uploads.ended(*upload)
        served(self.uploads, finish=True)
        assert self.uploads.queued == 0


AnyOrder.TestCase.settings = settings(max_examples=80, stateful_step_count=40, deadline=None)
TestAnyOrder = AnyOrder.TestCase


def test_who_has_the_least_is_served_first() -> None:
    uploads = Uploads(POLICY)
    a, b = PeerId("a"), PeerId("b")
    assert uploads.ask(a, TAG, 0) is None
    assert uploads.ask(b, TAG, 1) is None
    assert uploads.next({a: 9, b: 2}.__getitem__) == (b, TAG, 1)
    assert uploads.next({a: 9, b: 2}.__getitem__) == (a, TAG, 0)
