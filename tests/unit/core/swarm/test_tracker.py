"""The tracker: it introduces, and leases each piece to one node at a time."""

from dataclasses import replace

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from shoal.core import bitmap
from shoal.core.peer import PeerId
from shoal.core.swarm.policy import DEFAULT
from shoal.core.swarm.tracker import (
    PARTICIPANTS_MOST,
    TABLES_MOST,
    Replies,
)
from shoal.core.wire.messages import (
    Announce,
    Introduce,
    LeaseGranted,
    LeaseNone,
    LeaseOutcome,
    Message,
)
from shoal.testing.swarm_script import blob
from unit.core.swarm.desk import (
    DECLINED,
    DENIED,
    DONE,
    FAILED,
    NONE,
    TAG,
    A,
    B,
    C,
    D,
    Desk,
    granted,
)


def both() -> Desk:
    """A desk at which a and b want the blob."""
    desk = Desk()
    desk.announce(A)
    desk.announce(B)
    return desk


# --- introductions ----------------------------------------------------------------------------


def test_the_first_to_come_meets_nobody() -> None:
    assert not [m for _, m in Desk().announce(A, sought=16) if isinstance(m, Introduce)]


def test_whoever_comes_is_introduced_to_those_before_it_and_not_to_itself() -> None:
    desk = both()
    (introduction,) = [r for r in desk.announce(C, sought=16) if isinstance(r[1], Introduce)]
    to, message = introduction
    assert to == C
    assert isinstance(message, Introduce)
    assert sorted(message.peers) == [A, B]


def test_no_more_are_introduced_than_were_sought_and_at_random() -> None:
    seen: set[PeerId] = set()
    desk = Desk()
    for number in range(40):
        desk.announce(PeerId(f"p{number}"))
    for _ in range(20):
        (message,) = [m for _, m in desk.announce(A, sought=4) if isinstance(m, Introduce)]
        assert len(set(message.peers)) == len(message.peers) == 4
        seen.update(message.peers)
    assert len(seen) > 20


def test_holders_are_a_quarter_of_those_introduced_so_that_one_is_not_asked_by_all() -> None:
    desk = Desk()
    for number in range(20):
        desk.announce(PeerId(f"want{number}"))
        desk.announce(PeerId(f"hold{number}"), 0b1111, wants=False)
    (message,) = [m for _, m in desk.announce(A, sought=16) if isinstance(m, Introduce)]
    assert sum(peer.startswith("hold") for peer in message.peers) == 4


def test_where_few_want_the_blob_holders_fill_the_rest() -> None:
    desk = Desk()
    for number in range(20):
        desk.announce(PeerId(f"hold{number}"), 0b1111, wants=False)
    (message,) = [m for _, m in desk.announce(A, sought=16) if isinstance(m, Introduce)]
    assert len(message.peers) == 16


# --- leases -----------------------------------------------------------------------------------


def test_a_node_that_starts_is_given_a_lease_unasked() -> None:
    assert granted(Desk().announce(A)) == [(A, 0, 1)]


def test_a_node_alone_is_given_longer_runs_each_time() -> None:
    # Each request is only a round trip to it; but others may be about to come.
    desk = Desk(spec=blob(pieces=16))
    runs = [granted(desk.announce(A))[0][1:]]
    for _ in range(3):
        first, count = runs[-1]
        (grant,) = granted(desk.end(A, first, count))
        runs.append(grant[1:])
    assert runs == [(0, 1), (1, 2), (3, 4), (7, 8)]


def test_where_many_take_part_a_lease_is_short() -> None:
    desk = Desk(spec=blob(pieces=100))
    for number in range(10):
        desk.announce(PeerId(f"p{number}"))
    assert granted(desk.want(A)) == []  # it takes no part
    desk.announce(A)
    assert [count for _, _, count in granted(desk.want(A))] == [1]


def test_nodes_that_start_together_fetch_different_pieces() -> None:
    desk = both()
    assert granted(desk.want(B)) == [(B, 1, 1)]
    assert granted(desk.want(A)) == [(A, 2, 1)]


def test_leases_that_are_over_too_soon_are_made_longer_and_shorter_again() -> None:
    policy = replace(DEFAULT, lease_least_s=0.1)
    desk = Desk(policy, spec=blob(pieces=64))
    for peer in (A, B, C, D):
        desk.announce(peer)
    (table,) = desk.tracker.tables.values()

    def next_length(took_s: float) -> int:
        (lease,) = table.leases.values()
        desk.now_s += took_s
        desk.end(lease.peer, lease.first, lease.count)
        (lease,) = table.leases.values()
        return lease.count

    assert [next_length(took_s) for took_s in (0.05, 0.05, 0.2, 0.5, 0.5, 0.5)] == [
        2,
        4,
        4,
        2,
        1,
        1,
    ]


def test_a_piece_that_a_node_has_is_not_leased() -> None:
    desk = Desk()
    desk.announce(A, 0b0111, wants=False)
    assert granted(desk.announce(B)) == [(B, 3, 1)]


def test_nothing_is_leased_where_a_seeder_has_it_all() -> None:
    desk = Desk()
    desk.announce(A, 0b1111, wants=False)
    desk.announce(B)
    assert desk.want(B) == [(B, NONE)]


def test_there_are_no_more_leases_at_once_than_keep_the_registry_busy() -> None:
    desk = Desk(replace(DEFAULT, leases_at_once=2))
    desk.announce(A)
    desk.announce(B)
    assert len(granted(desk.want(B))) == 1
    assert desk.want(A) == []
    assert granted(desk.end(B, 1, 1)) == [(A, 2, 1)]


def test_what_a_lease_brought_is_held_by_who_fetched_it() -> None:
    desk = both()
    desk.want(B)
    desk.end(A, 0, 1)
    assert desk.tracker.tables[TAG].participants[A].held == 0b0001
    assert [first for _, first, _ in granted(desk.want(A))] == [2]


def test_the_rest_of_a_lease_that_ended_early_goes_to_another() -> None:
    desk = Desk(spec=blob(pieces=16))
    desk.announce(A)
    (lease,) = granted(desk.end(A, 0, 1))
    assert lease == (A, 1, 2)
    desk.announce(B)
    assert [first for _, first, _ in granted(desk.want(B))] == [3]
    desk.end(A, 1, 1, FAILED)
    assert [first for _, first, _ in granted(desk.want(B))] == [2]


def test_a_lease_without_progress_goes_to_another_after_its_patience() -> None:
    desk = both()
    desk.want(B)
    assert granted(desk.wait(3, alive=[(B, 1)])) == []
    desk.want(B)
    assert [first for _, first, _ in granted(desk.wait(1, alive=[(B, 1)]) + desk.want(B))] == [0]
    assert desk.tracker.lapsed == 1


def test_bytes_keep_a_lease_alive() -> None:
    desk = both()
    desk.wait(60, alive=[(A, 0)])
    assert desk.tracker.lapsed == 0


def test_a_piece_that_lapsed_once_is_waited_for_twice_as_long() -> None:
    desk = Desk(spec=blob(pieces=1))
    desk.announce(A)
    desk.announce(B)
    assert granted(desk.wait(4))[0][1] == 0
    assert granted(desk.wait(6)) == []
    assert granted(desk.wait(1))[0][1] == 0


def test_a_lease_that_lapsed_and_still_brought_its_piece_is_believed() -> None:
    desk = Desk(spec=blob(pieces=2))
    desk.announce(A)
    desk.announce(B)
    desk.want(B)
    desk.wait(4, alive=[(B, 1)])
    assert desk.tracker.lapsed == 1
    desk.end(A, 0, 1)
    assert desk.tracker.tables[desk.spec.tag].participants[A].held == 0b01


def test_whoever_waits_hears_when_nothing_is_left_to_lease() -> None:
    desk = Desk(spec=blob(pieces=1))
    desk.announce(A)
    desk.announce(B)
    assert desk.want(B) == [(B, LeaseNone(desk.spec.tag))]


def test_a_registry_that_asks_to_be_left_alone_is_left_alone_by_the_whole_site() -> None:
    desk = both()
    desk.end(A, 0, 0, FAILED, retry_after_s=10.0)
    assert desk.want(B) == []
    assert granted(desk.wait(9)) == []
    assert granted(desk.wait(2))


def test_a_registry_that_limits_requests_is_asked_for_more_with_each() -> None:
    desk = Desk(spec=blob(pieces=19))
    desk.announce(A)
    desk.announce(B)
    counts = []
    for peer, other in ((A, B), (B, A)) * 2:
        ((_, first, count),) = [g for g in granted(desk.want(peer)) if g[0] == peer]
        counts.append(count)
        desk.end(peer, first, 0, FAILED, retry_after_s=1.0)
        desk.wait(1.1)
        desk.announce(other)
    assert counts == [1, 2, 4, 8]


def test_a_node_that_failed_is_not_called_upon_until_it_asks() -> None:
    desk = Desk()
    desk.announce(A)
    assert granted(desk.end(A, 0, 0, FAILED) + desk.wait(2)) == []
    assert granted(desk.want(A)) == [(A, 0, 2)]


def test_a_node_that_declined_is_not_called_upon_until_it_asks() -> None:
    desk = Desk()
    desk.announce(A)
    assert granted(desk.end(A, 0, 0, DECLINED) + desk.wait(2)) == []
    assert granted(desk.want(A)) == [(A, 0, 2)]


def test_another_that_is_idle_is_called_upon_when_a_lease_fails() -> None:
    assert granted(both().end(A, 0, 0, FAILED)) == [(B, 0, 1)]


def test_a_node_that_the_registry_denies_gets_no_other_lease() -> None:
    desk = both()
    assert granted(desk.end(A, 0, 0, DENIED)) == [(B, 0, 2)]
    assert granted(desk.want(A)) == []
    assert not any(peer == A for peer, _, _ in granted(desk.wait(30)))


def test_a_denied_node_hears_that_others_are_at_work_and_nothing_once_nobody_is() -> None:
    desk = both()
    desk.end(A, 0, 0, DENIED)
    assert desk.want(A, 0) == [(A, NONE)]
    desk.leave(B)
    assert desk.want(A, 0) == []


# --- who is stuck -----------------------------------------------------------------------------


def test_who_waits_in_vain_for_what_one_node_has_makes_all_of_it_leasable() -> None:
    desk = Desk()
    desk.announce(A, 0b1111, wants=False)
    desk.announce(B)
    assert granted(desk.want(B, 2)) == [(B, 0, 1)]
    desk.end(B, 0, 1)
    assert granted(desk.want(B))
    assert desk.tracker.doubted == 4


def test_where_others_have_it_too_only_the_piece_is_leased_anew() -> None:
    desk = Desk()
    desk.announce(A, 0b1111, wants=False)
    desk.announce(B, 0b1111, wants=False)
    desk.announce(C)
    assert granted(desk.want(C, 2)) == [(C, 2, 1)]
    assert desk.tracker.doubted == 1


def test_a_piece_is_leased_anew_once_however_many_wait_for_it() -> None:
    desk = Desk(spec=blob(pieces=1))
    desk.announce(A, 1, wants=False)
    for peer in (B, C, D):
        desk.announce(peer)
    grants = [granted(desk.want(peer, 0)) for peer in (B, C, D, B, C, D)]
    assert sum(map(len, grants)) == 1
    desk.end(grants[0][0][0], 0, 1)
    assert not any(granted(desk.want(peer, 0)) for peer in (B, C, D))


def test_a_piece_that_was_leased_to_another_in_vain_is_leased_once_more_after_a_while() -> None:
    desk = Desk(spec=blob(pieces=1))
    desk.announce(A, 1, wants=False)
    for peer in (B, C, D):
        desk.announce(peer)
    (second,) = [peer for peer, _, _ in granted(desk.want(B, 0))]
    desk.end(second, 0, 1)  # and it cannot send either
    stuck = next(peer for peer in (B, C, D) if peer != second)
    desk.wait(2)
    assert granted(desk.want(stuck, 0)) == []
    desk.wait(5)
    assert len(granted(desk.want(stuck, 0))) == 1


def test_a_doubted_node_is_given_no_lease_while_another_takes_part() -> None:
    desk = Desk()
    desk.announce(A)  # and leased piece 0
    desk.announce(B)
    desk.end(A, 0, 1)
    desk.want(B, 0)
    assert not any(peer == A for peer, _, _ in granted(desk.want(A) + desk.wait(20)))


def test_a_doubted_node_that_leaves_and_comes_back_is_doubted_still() -> None:
    desk = Desk()
    desk.announce(A, 0b1111, wants=False)
    desk.announce(B)
    desk.want(B, 0)
    desk.leave(A)
    desk.announce(A, 0b1111, wants=False)
    assert desk.tracker.tables[TAG].available == 0


def test_who_is_stuck_hears_that_the_tracker_lives() -> None:
    desk = Desk()
    desk.announce(A, takeover=True)
    desk.announce(B)
    assert desk.want(B, 0) == [(B, Introduce(TAG, ()))], "and none is refused it"


def test_a_piece_out_of_range_is_nobodys_trouble() -> None:
    desk = both()
    desk.want(B, 99)
    assert desk.tracker.doubted == 0


# --- who is gone ------------------------------------------------------------------------------


def test_the_leases_of_a_node_that_is_gone_go_to_another() -> None:
    assert granted(both().lose(A)) == [(B, 0, 2)]


def test_what_only_a_lost_node_had_is_leased_anew() -> None:
    desk = Desk()
    desk.announce(A, 0b0001)
    desk.announce(B, 0b1110)
    assert [first for _, first, _ in granted(desk.lose(A) + desk.want(B))] == [0]


def test_a_holder_whose_connection_is_idle_is_still_a_holder() -> None:
    desk = Desk()
    desk.announce(A, 0b1111, wants=False)
    desk.announce(B)
    desk.lose(A)
    assert desk.want(B) == [(B, NONE)]


def test_who_is_not_heard_of_for_long_is_forgotten() -> None:
    desk = Desk()
    desk.announce(A, 0b1111, wants=False)
    desk.announce(B)
    desk.wait(round(4 * DEFAULT.announce_interval_s) + 1)
    assert set(desk.tracker.tables[TAG].participants) == {A}
    desk.wait(round(4 * DEFAULT.hold_announce_interval_s))
    assert desk.tracker.tables == {}


def test_a_tracker_that_takes_over_waits_for_others_to_announce_before_it_leases() -> None:
    desk = Desk()
    assert granted(desk.announce(A, 0b0001, takeover=True)) == []
    assert desk.want(A) == []
    desk.announce(B, 0b0010, takeover=True)
    assert granted(desk.wait(1)) == [(A, 2, 1)]


def test_nobody_hears_anything_about_a_blob_that_is_not_tracked() -> None:
    desk = Desk()
    assert desk.want(A) == [(A, NONE)]
    assert desk.progress(A, 0, 1) == []
    assert desk.end(A, 0, 1) == []
    assert desk.leave(A) == []
    assert desk.lose(A) == []
    assert desk.tracker.tables == {}


def test_lies_about_a_lease_change_nothing() -> None:
    desk = both()
    desk.progress(B, 0, 1)  # a's lease
    desk.end(B, 0, 99)
    desk.end(C, 0, 4)  # takes no part
    desk.end(A, 0, 4_000_000_000)
    assert desk.tracker.tables[TAG].available == 0b0001, "a's one piece"


def test_what_one_tracker_remembers_is_bounded() -> None:
    desk = Desk(spec=blob(pieces=1))
    for number in range(PARTICIPANTS_MOST + 5):
        desk.tracker.announced(
            PeerId(f"p{number}"), Announce(desk.spec, 0, False, 0), now_s=desk.now_s
        )
    assert len(desk.tracker.tables[desk.spec.tag].participants) == PARTICIPANTS_MOST
    for number in range(TABLES_MOST + 5):
        spec = blob(pieces=1, name=f"b{number}")
        desk.tracker.announced(A, Announce(spec, 0, False, 0), now_s=desk.now_s)
    assert len(desk.tracker.tables) == TABLES_MOST


# --- any order --------------------------------------------------------------------------------


class AnyOrder(RuleBasedStateMachine):
    """Nodes announce, fetch under the leases that they were given, fail, leave; in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.desk = Desk(spec=blob(pieces=6))
        self.held: dict[PeerId, int] = {}
        self.leases: list[tuple[PeerId, int, int]] = []

    def _hear(self, replies: Replies) -> None:
        for to, message in replies:
            assert isinstance(message, LeaseGranted | LeaseNone | Introduce)
            self._one(to, message)

    def _one(self, to: PeerId, message: Message) -> None:
        if isinstance(message, LeaseGranted):
            assert to in self.held, "only who takes part is given a lease"
            assert message.count >= 1
            assert message.first + message.count <= self.desk.spec.pieces
            self.leases.append((to, message.first, message.count))
        if isinstance(message, Introduce):
            assert to not in message.peers
            assert set(message.peers) <= self.held.keys()

    @rule(peer=st.sampled_from((A, B, C, D)), wants=st.booleans(), sought=st.integers(0, 3))
    def announce(self, peer: PeerId, wants: bool, sought: int) -> None:
        """A node says what it has."""
        held = self.held.setdefault(peer, 0) if wants else bitmap.full(6)
        self.held[peer] = held
        self._hear(self.desk.announce(peer, held, wants=wants, sought=sought))

    @rule(peer=st.sampled_from((A, B, C, D)), stuck=st.integers(-1, 7))
    def want(self, peer: PeerId, stuck: int) -> None:
        """A node has a free hand, or is stuck."""
        self._hear(self.desk.want(peer, stuck))

    @precondition(lambda self: self.leases)
    @rule(data=st.data(), outcome=st.sampled_from(LeaseOutcome))
    def end(self, data: st.DataObject, outcome: LeaseOutcome) -> None:
        """A lease ends, well or not."""
        lease = data.draw(st.sampled_from(self.leases))
        self.leases.remove(lease)
        peer, first, count = lease
        done = count if outcome is DONE else data.draw(st.integers(0, count))
        if peer in self.held:
            self.held[peer] |= bitmap.run(first, done)
        self._hear(self.desk.end(peer, first, done, outcome))

    @precondition(lambda self: self.leases)
    @rule(data=st.data())
    def progress(self, data: st.DataObject) -> None:
        """Some of a lease has come."""
        peer, first, count = data.draw(st.sampled_from(self.leases))
        done = data.draw(st.integers(0, count))
        if peer in self.held:
            self.held[peer] |= bitmap.run(first, done)
        self._hear(self.desk.progress(peer, first, done))

    @precondition(lambda self: self.held)
    @rule(data=st.data(), lost=st.booleans())
    def go(self, data: st.DataObject, lost: bool) -> None:
        """A node leaves, or is lost."""
        peer = data.draw(st.sampled_from(sorted(self.held)))
        replies = self.desk.lose(peer) if lost else self.desk.leave(peer)
        table = self.desk.tracker.tables.get(self.desk.spec.tag)
        if table is None or peer not in table.participants:
            del self.held[peer]
            self.leases = [lease for lease in self.leases if lease[0] != peer]
        self._hear(replies)

    @rule(seconds=st.integers(1, 5))
    def wait(self, seconds: int) -> None:
        """Time passes; whoever is not heard of for long is forgotten."""
        replies = self.desk.wait(seconds)
        table = self.desk.tracker.tables.get(self.desk.spec.tag)
        present = set(table.participants) if table else set()
        # Grants of this wait may be to nodes that were forgotten later in it.
        self._hear([reply for reply in replies if reply[0] in present])
        self.held = {peer: held for peer, held in self.held.items() if peer in present}
        self.leases = [lease for lease in self.leases if lease[0] in present]

    @invariant()
    def what_nobody_offers_or_fetches_can_be_leased(self) -> None:
        """No piece falls between two stools."""
        table = self.desk.tracker.tables.get(self.desk.spec.tag)
        if table is None:
            return
        for piece in bitmap.members(table.leasable()):
            assert not any(p.offers >> piece & 1 for p in table.participants.values())
        assert len(table.leases) <= DEFAULT.leases_at_once


AnyOrder.TestCase.settings = settings(max_examples=80, stateful_step_count=40, deadline=None)
TestAnyOrder = AnyOrder.TestCase
