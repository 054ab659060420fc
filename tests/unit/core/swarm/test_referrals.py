"""A node that is asked to track what another member tracks for it: one swarm stays one."""

from shoal.core.membership.placement import ranked
from shoal.core.swarm import effects as do
from shoal.core.swarm import events as on
from shoal.core.swarm.holds import START_SPREAD_S
from shoal.core.swarm.policy import DEFAULT
from shoal.core.swarm.referrals import REFERRED_MOST
from shoal.core.wire.messages import Announce, Introduce, Join, LeaseGranted, LeaseNone, LeaseWanted
from shoal.testing.swarm_script import Script, said
from unit.core.swarm import large_site
from unit.core.swarm.large_site import DEPUTIES, MEMBERS, TRACKER
from unit.core.swarm.scripts import ALL, SPEC, TAG, A, B, holding, piece, wanting

WANTS = Announce(SPEC, 0, wants=True, peers_sought=4)


def test_who_does_not_know_the_tracker_is_led_to_this_node_and_its_neighbours() -> None:
    script = wanting()
    script.hear("a", Join(SPEC, 0))
    effects = script.hear("b", WANTS, LeaseWanted(TAG))
    (introduced,) = [m for m in said(effects, to="b") if isinstance(m, Introduce)]
    assert set(introduced.peers) == {script.swarm.site.me, A}
    assert LeaseNone(TAG) in said(effects, to="b")
    assert not script.swarm.tracker.tables


def test_nobody_is_named_to_who_seeks_nobody() -> None:
    effects = wanting().hear("b", Announce(SPEC, 0, wants=True, peers_sought=0))
    assert said(effects, to="b") == [Introduce(TAG, ())]


def test_a_node_that_has_the_whole_blob_names_itself() -> None:
    script = holding()
    script.wait(START_SPREAD_S + 0.2)  # until the tracker knows of it
    effects = script.hear("b", WANTS, LeaseWanted(TAG))
    assert said(effects, to="b") == [Introduce(TAG, (script.swarm.site.me,)), LeaseNone(TAG)]


def test_where_the_tracker_is_gone_this_node_tracks_for_the_next_in_line() -> None:
    script = wanting()
    script.tell(on.PeerLost(A))
    assert script.swarm.exchanges[TAG].tracker == B
    effects = script.hear("b", WANTS, LeaseWanted(TAG))
    assert script.swarm.tracker.tables[TAG].participants[B].wants
    assert LeaseNone(TAG) not in said(effects, to="b")


def test_where_nothing_comes_of_the_trackers_swarm_this_node_tracks() -> None:
    script = wanting()
    script.wait(DEFAULT.lease_patience_s + 0.5)
    effects = script.hear("b", WANTS, LeaseWanted(TAG))
    assert any(isinstance(message, LeaseGranted) for message in said(effects, to="b"))


def test_what_was_tracked_before_this_node_took_part_is_led_into_its_swarm() -> None:
    script = wanting()
    script.swarm.exchanges[TAG].progress_s = -1e9
    script.hear("b", WANTS)
    assert TAG in script.swarm.tracker.tables
    script.tell(piece(0, A))
    script.hear("b", WANTS)
    assert TAG not in script.swarm.tracker.tables


def test_a_blob_that_this_node_has_no_part_in_is_tracked() -> None:
    script = wanting()
    other = type(SPEC)(SPEC.registry, SPEC.digest, SPEC.length_bytes + 1)
    script.hear("b", Announce(other, ALL, wants=False, peers_sought=0))
    assert other.tag in script.swarm.tracker.tables


# --- a large site, in which few speak to the tracker --------------------------------------------

SUCCESSOR = ranked(large_site.TAG, MEMBERS)[1]
ORPHAN = next(p for p in MEMBERS if p not in (TRACKER, SUCCESSOR, large_site.ME, *DEPUTIES))
ITS = Announce(large_site.SPEC, 0, wants=True, peers_sought=4)


def asked() -> tuple[Script, list[do.Effect]]:
    """A node that wants a blob of which it knows the tracker only by its place in the order."""
    script = large_site.member(*DEPUTIES, ORPHAN)
    script.tell(on.BlobWanted(large_site.SPEC))
    return script, script.hear(ORPHAN, ITS)


def test_who_is_no_delegate_leads_on_too_and_looks_whether_the_tracker_lives() -> None:
    script, effects = asked()
    assert Introduce in map(type, said(effects, to=ORPHAN))
    assert do.Connect(TRACKER) in effects
    script.connect(TRACKER)
    assert not script.swarm.referrals.referred
    assert not script.swarm.tracker.tables


def test_a_node_that_has_the_blob_leads_on_though_its_tracker_was_not_told() -> None:
    script = large_site.member(*DEPUTIES, ORPHAN)
    script.tell(on.BlobStored(large_site.SPEC))
    script.wait(START_SPREAD_S + 0.2)
    effects = script.hear(ORPHAN, ITS)
    assert said(effects, to=ORPHAN) == [Introduce(large_site.TAG, (large_site.ME,))]


def test_where_the_tracker_does_not_live_whoever_asked_is_led_by_who_is_next() -> None:
    members = (SUCCESSOR, *(peer for peer in MEMBERS if peer != SUCCESSOR))
    script = Script(*members, policy=large_site.POLICY)
    script.connect(ORPHAN)
    script.tell(on.BlobWanted(large_site.SPEC))
    script.hear(ORPHAN, ITS)
    assert not script.swarm.tracker.tables
    effects = script.tell(on.PeerLost(TRACKER))
    assert script.swarm.tracker.knows(ORPHAN, large_site.TAG)
    assert LeaseGranted in map(type, said(effects, to=ORPHAN))


def test_a_flood_of_those_to_be_led_on_is_bounded() -> None:
    script, _ = asked()
    tags = [(large_site.TAG, type(ORPHAN)(f"p{number}")) for number in range(2 * REFERRED_MOST)]
    for _, peer in tags:
        script.swarm.referrals.refer(peer, ITS)
    assert len(script.swarm.referrals.referred) == REFERRED_MOST
