"""Holds: trackers hear of every whole blob, soon and again, never of all at once."""

from collections import Counter
from itertools import pairwise

from shoal.core.blob import BlobTag
from shoal.core.membership.placement import ranked
from shoal.core.peer import PeerId
from shoal.core.swarm import effects as do
from shoal.core.swarm import events as on
from shoal.core.swarm.holds import ANNOUNCES_A_TICK, JOINED_MOST, START_SPREAD_S
from shoal.core.swarm.policy import DEFAULT
from shoal.core.wire.messages import Announce, Delegate
from shoal.testing.swarm_script import Script, blob, blob_tracked_by, said
from unit.core.swarm import large_site
from unit.core.swarm.large_site import DEPUTIES, TRACKER

A, B = PeerId("a"), PeerId("b")
INTERVAL_S = DEFAULT.hold_announce_interval_s


def announced(effects: list[do.Effect], *, to: str | None = None) -> list[BlobTag]:
    return [m.spec.tag for m in said(effects, to=to) if isinstance(m, Announce)]


def connected(*others: str) -> Script:
    script = Script("me", *others)
    script.connect(*others)
    return script


def test_a_blob_known_from_before_a_restart_is_announced_within_seconds() -> None:
    script = connected("a")
    spec = blob_tracked_by("a", "me")
    assert announced(script.tell(on.BlobStored(spec))) == []
    effects = script.wait(START_SPREAD_S + 0.2)
    assert said(effects) == [Announce(spec, 0b1111, wants=False, peers_sought=0)]


def test_thousands_of_blobs_are_not_announced_all_at_once() -> None:
    script = connected("a")
    specs = [blob(pieces=1, name=f"b{number}") for number in range(600)]
    script.tell(*map(on.BlobStored, specs))
    told: Counter[BlobTag] = Counter()
    for _ in range(50):
        tags = announced(script.wait(0.1))
        assert len(tags) <= ANNOUNCES_A_TICK
        told.update(tags)
    others = [spec.tag for spec in specs if ranked(spec.tag, [A, PeerId("me")])[0] == A]
    assert set(told) == set(others)
    assert max(told.values()) == 1


def test_what_is_held_is_announced_again_before_the_tracker_forgets_it() -> None:
    script = connected("a")
    spec = blob_tracked_by("a", "me")
    script.tell(on.BlobStored(spec))
    script.wait(START_SPREAD_S + 0.2)
    at_s = [script.now_s for _ in range(1000) if announced(script.tell(on.Ticked(), after_s=1.0))]
    gaps = [later - earlier for earlier, later in pairwise(at_s)]
    assert gaps
    assert all(0.7 * INTERVAL_S <= gap <= 1.3 * INTERVAL_S for gap in gaps)


def test_a_tracker_that_is_not_connected_is_dialed_and_told_when_it_is() -> None:
    script = Script("me", "a")
    spec = blob_tracked_by("a", "me")
    script.tell(on.BlobStored(spec))
    effects = script.wait(START_SPREAD_S + 0.2)
    assert do.Connect(A) in effects
    assert announced(effects) == []
    assert announced(script.connect("a")) == [spec.tag]
    assert announced(script.wait(10.0)) == []


def test_a_tracker_that_cannot_be_reached_is_replaced() -> None:
    script = Script("me", "a", "b")
    script.connect("b")
    spec = blob_tracked_by("a", "b", "me")
    script.tell(on.BlobStored(spec))
    script.wait(START_SPREAD_S + 0.2)
    script.tell(on.PeerLost(A))
    assert announced(script.wait(DEFAULT.announce_interval_s + 0.2), to="b") == [spec.tag]


def test_when_members_change_all_is_announced_anew_to_who_tracks_now() -> None:
    script = connected("b")
    spec = blob_tracked_by("a", "b", "me")
    script.tell(on.BlobStored(spec))
    script.wait(START_SPREAD_S + 0.2)
    effects = script.tell(on.MembersChanged(frozenset({A})))
    effects += script.connect("a") + script.wait(DEFAULT.announce_interval_s + 0.2)
    assert announced(effects, to="a") == [spec.tag]


def test_a_blob_that_was_just_pulled_is_announced_as_whole_at_once() -> None:
    script = connected("a")
    spec = blob_tracked_by("a", "me", pieces=1)
    script.tell(on.BlobWanted(spec))
    script.tell(on.PieceStored(spec.tag, 0, A))
    effects = script.tell(on.BlobStored(spec))
    assert said(effects, to="a") == [Announce(spec, 1, wants=False, peers_sought=0)]


def test_a_dropped_blob_is_not_announced_again() -> None:
    script = connected("a")
    spec = blob_tracked_by("a", "me")
    script.tell(on.BlobStored(spec))
    script.tell(on.BlobDropped(spec.tag))
    assert announced(script.wait(2 * INTERVAL_S)) == []


def test_a_blob_dropped_while_its_tracker_is_dialed_is_not_announced() -> None:
    script = Script("me", "a")
    spec = blob_tracked_by("a", "me")
    script.tell(on.BlobStored(spec))
    script.wait(START_SPREAD_S + 0.2)
    script.tell(on.BlobDropped(spec.tag))
    assert announced(script.connect("a")) == []


def test_a_member_that_joins_hears_at_once_of_what_it_is_to_track_and_of_nothing_else() -> None:
    # It may be about to pull.
    script = connected("b")
    its, others = blob_tracked_by("a", "b", "me"), blob_tracked_by("b", "a", "me")
    script.tell(on.BlobStored(its), on.BlobStored(others))
    assert set(announced(script.wait(START_SPREAD_S + 0.2))) == {its.tag, others.tag}
    assert do.Connect(A) in script.tell(on.MembersChanged(frozenset({A, B})))
    assert announced(script.connect("a")) == [its.tag]
    assert announced(script.wait(10.0)) == []


def test_a_member_that_was_away_hears_anew_what_it_tracks() -> None:
    script = connected("a", "b")
    before, meanwhile = (blob_tracked_by("a", "b", "me", name=name) for name in ("one", "two"))
    script.tell(on.BlobStored(before))
    script.wait(START_SPREAD_S + 0.2)
    script.tell(on.PeerLost(A), on.BlobStored(meanwhile))
    assert announced(script.wait(START_SPREAD_S + 0.2), to="b") == [meanwhile.tag]
    assert announced(script.connect("a"), to="a") == [meanwhile.tag]
    assert announced(script.wait(START_SPREAD_S + 1.2), to="a") == [before.tag]


def test_after_many_members_joined_all_is_announced_within_seconds() -> None:
    script = connected("a")
    spec = blob_tracked_by("a", "me")
    names = [PeerId(f"m{number}") for number in range(JOINED_MOST + 1)]
    script.tell(on.BlobStored(spec))
    script.wait(START_SPREAD_S + 0.2)
    script.tell(on.MembersChanged(frozenset({A, *names})))
    script.connect(*names)
    assert announced(script.wait(DEFAULT.announce_interval_s + 0.2)) == [spec.tag]


# --- a large site -------------------------------------------------------------------------------


def holding_in_a_large_site() -> tuple[Script, list[do.Effect]]:
    script = large_site.member(TRACKER, *DEPUTIES)
    effects = script.tell(on.BlobStored(large_site.SPEC)) + script.wait(START_SPREAD_S + 0.2)
    return script, effects


def test_in_a_large_site_deputies_are_told_and_not_the_tracker() -> None:
    _, effects = holding_in_a_large_site()
    told = Announce(large_site.SPEC, 0xFF, wants=False, peers_sought=0, to_deputy=True)
    assert [said(effects, to=peer) for peer in (*DEPUTIES, TRACKER)] == [[told], [told], []]


def test_the_tracker_is_told_by_who_is_named_a_delegate() -> None:
    script, _ = holding_in_a_large_site()
    assert said(script.hear(TRACKER, Delegate(large_site.TAG)), to=TRACKER) == []
    told = Announce(large_site.SPEC, 0xFF, wants=False, peers_sought=0)
    assert said(script.hear(DEPUTIES[0], Delegate(large_site.TAG)), to=TRACKER) == [told]


def test_a_deputy_that_is_lost_is_replaced_within_seconds_of_the_next_announcement() -> None:
    script, _ = holding_in_a_large_site()
    script.tell(on.PeerLost(DEPUTIES[0]), on.MembersChanged(frozenset(large_site.MEMBERS)))
    others = frozenset(large_site.MEMBERS) - {DEPUTIES[0]}
    script.tell(on.MembersChanged(others))
    script.connect(*sorted(others - {large_site.ME, TRACKER, DEPUTIES[1]}))
    effects = script.wait(DEFAULT.announce_interval_s + 0.2)
    told = [e.peer for e in effects if isinstance(e, do.Send) and isinstance(e.message, Announce)]
    assert len({*told}) == 2
    assert DEPUTIES[1] in told
    assert DEPUTIES[0] not in told


def test_a_site_that_shrinks_has_its_trackers_told() -> None:
    script, _ = holding_in_a_large_site()
    few = frozenset({large_site.ME, TRACKER, *DEPUTIES})
    effects = script.tell(on.MembersChanged(few)) + script.wait(DEFAULT.announce_interval_s + 0.2)
    assert Announce(large_site.SPEC, 0xFF, wants=False, peers_sought=0) in said(effects, to=TRACKER)
