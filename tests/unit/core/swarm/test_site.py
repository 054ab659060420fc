"""The site: who is a member, who is connected, who tracks what."""

from dataclasses import replace

from shoal.core.membership.placement import ranked
from shoal.core.peer import PeerId
from shoal.core.swarm.effects import Connect, Disconnect, Send
from shoal.core.swarm.policy import DEFAULT, Policy
from shoal.core.swarm.site import Site
from shoal.core.wire.messages import Ping
from shoal.testing.swarm_script import blob_tracked_by

ME, A, B, C = (PeerId(name) for name in ("me", "a", "b", "c"))


def site(*members: PeerId, policy: Policy = DEFAULT) -> Site:
    it = Site(ME, policy, frozenset(members))
    it.begin(100.0)
    return it


def test_this_node_is_a_member_though_nobody_says_so() -> None:
    assert ME in site(A).members


def test_a_message_goes_out_where_a_connection_stands_and_nowhere_else() -> None:
    it = site(A, B)
    it.connected(A)
    it.tell([(A, Ping()), (B, Ping())])
    assert it.out == [Send(A, Ping())]


def test_what_this_node_says_to_itself_needs_no_connection() -> None:
    it = site()
    it.send(ME, Ping())
    assert list(it.mailbox) == [Ping()]
    assert it.out == []
    assert it.reachable(ME)


def test_a_peer_is_dialed_once_until_it_answers_or_fails() -> None:
    it = site(A)
    it.connect(A)
    it.connect(A)
    assert it.out == [Connect(A)]
    it.connected(A)
    it.connect(A)
    assert it.out == [Connect(A)]
    it.lost(A, failed=False)
    it.connect(A)
    assert it.out == [Connect(A), Connect(A)]


def test_the_orders_of_one_event_do_not_appear_again_with_the_next() -> None:
    it = site(A)
    it.connect(A)
    it.begin(101.0)
    assert it.out == []


def test_the_tracker_is_the_first_in_the_order_that_all_nodes_share() -> None:
    spec = blob_tracked_by("a", "me", "b")
    assert site(A, B).tracker_of(spec.tag) == A


def test_a_member_that_failed_is_passed_over_and_comes_back() -> None:
    spec = blob_tracked_by("a", "b", "me")
    it = site(A, B)
    it.lost(A, failed=True)
    assert it.tracker_of(spec.tag) == B
    it.begin(100.0 + DEFAULT.unreachable_s)
    assert it.tracker_of(spec.tag) == A


def test_a_planned_end_of_a_connection_is_no_failure() -> None:
    it = site(A)
    it.connected(A)
    it.lost(A, failed=False)
    assert not it.left_alone(A)


def test_where_all_others_fail_this_node_tracks_for_itself() -> None:
    spec = blob_tracked_by("a", "b", "me")
    it = site(A, B)
    it.lost(A, failed=True)
    it.lost(B, failed=True)
    assert it.tracker_of(spec.tag) == ME


def test_a_peer_that_is_left_out_is_disconnected_and_tracks_nothing() -> None:
    spec = blob_tracked_by("a", "me")
    it = site(A)
    it.connected(A)
    it.leave_out(A, "lies")
    assert it.out == [Disconnect(A, "lies")]
    assert it.tracker_of(spec.tag) == ME
    it.leave_out(B, "lies")
    assert it.out == [Disconnect(A, "lies")], "b is not connected"


def test_in_a_small_site_every_member_is_dialed_but_those_left_alone() -> None:
    it = site(A, B, C)
    it.connected(A)
    it.lost(B, failed=True)
    it.mesh()
    assert it.out == [Connect(C)]


def test_in_a_large_site_members_are_dialed_only_for_a_reason() -> None:
    it = site(A, B, C, policy=replace(DEFAULT, mesh_most=3))
    it.mesh()
    assert it.out == []


def test_while_a_tracker_does_not_answer_the_next_in_line_are_dialed_one_after_the_other() -> None:
    spec = blob_tracked_by("a", "b", "c", "me")
    it = site(A, B, C)
    it.connect(it.tracker_of(spec.tag))
    dialed = []
    for tenth in range(20):
        it.begin(100.0 + tenth / 10)
        it.dial_successor(spec.tag)
        dialed += [(tenth, effect.peer) for effect in it.out if isinstance(effect, Connect)]
    assert dialed == [(5, B), (10, C)]


def test_nobody_further_is_dialed_than_a_member_that_answers() -> None:
    spec = blob_tracked_by("a", "b", "c", "me")
    it = site(A, B, C)
    it.connect(A)
    it.connected(B)
    it.begin(110.0)
    it.dial_successor(spec.tag)
    assert it.out == []


def test_every_dead_member_is_passed_over_before_one_is_given_another_chance() -> None:
    # A dial to a dead node fails after two seconds; five of them come before this one.
    names = ("a", "b", "c", "d", "e")
    spec = blob_tracked_by(*names, "me")
    it = site(*map(PeerId, names))
    failing: dict[PeerId, float] = {}
    now_s = 100.0
    while (tracker := it.tracker_of(spec.tag)) != ME:
        it.begin(now_s)
        it.connect(tracker)
        it.dial_successor(spec.tag)
        failing |= {effect.peer: now_s + 2.0 for effect in it.out if isinstance(effect, Connect)}
        for peer in [peer for peer, fails_s in failing.items() if fails_s <= now_s]:
            it.lost(peer, failed=True)
            del failing[peer]
        now_s += 0.1
    assert now_s - 100.0 < 5.0
    assert ranked(spec.tag, it.members)[-1] == ME


def test_a_member_that_refuses_this_node_is_passed_over_but_by_the_patient() -> None:
    spec = blob_tracked_by("a", "b", "me")
    it = site(A, B)
    it.lost(A, failed=True, refused=True)
    assert not it.left_alone(A)
    assert it.tracker_of(spec.tag) == B
    assert it.tracker_of(spec.tag, patient=True) == A
    it.connect(A)
    assert it.out == [], "not at once"
    it.begin(100.0 + DEFAULT.refusal_s + 0.01)
    it.mesh()
    assert Connect(A) in it.out


def young(*members: PeerId, policy: Policy = DEFAULT) -> Site:
    it = site(*members, policy=policy)
    it.joined_s = it.now_s
    return it


def test_a_node_that_joins_a_small_site_is_settled_once_it_was_told_by_everyone() -> None:
    it = young(A, B)
    assert it.unsettled()
    it.connected(A)
    it.lost(B, failed=True)
    assert it.unsettled()
    it.begin(100.0 + DEFAULT.told_within_s)
    assert not it.unsettled()


def test_a_node_that_joins_waits_for_the_silent_only_so_long() -> None:
    it = young(A, B)
    it.begin(100.0 + DEFAULT.settling_s + 0.1)
    assert not it.unsettled()


def test_a_node_that_joins_is_not_settled_while_others_do_not_know_it() -> None:
    for policy in (DEFAULT, replace(DEFAULT, mesh_most=1)):
        it = young(A, B, policy=policy)
        it.lost(A, failed=True, refused=True)
        it.begin(100.0 + DEFAULT.young_s - 1)
        assert it.unsettled()
        it.begin(100.0 + DEFAULT.young_s)
        assert not it.unsettled(), "it is left out, or they are wrong"
