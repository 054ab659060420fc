"""When nothing comes: what is tried next, and when readers are told."""

from shoal.core.swarm import effects as do
from shoal.core.swarm import events as on
from shoal.core.swarm.events import REGISTRY, RegistryFault
from shoal.core.swarm.policy import DEFAULT
from shoal.core.wire.messages import (
    Announce,
    Introduce,
    Join,
    LeaseGranted,
    LeaseNone,
    LeaseWanted,
)
from shoal.testing.swarm_script import Script, blob, said
from unit.core.swarm.scripts import DENIED, FAULT, SPEC, TAG, A, B, endings, leased, piece, wanting

# --- when nothing comes -----------------------------------------------------------------------


def gave_up(effects: list[do.Effect]) -> bool:
    return any(isinstance(effect, do.GiveUp) for effect in effects)


def test_the_tracker_hears_of_a_piece_that_does_not_come() -> None:
    script = wanting()
    script.hear("a", LeaseNone(TAG))
    stuck = [m for m in said(script.wait(3.2), to="a") if isinstance(m, LeaseWanted)]
    assert stuck == [LeaseWanted(TAG, stuck_piece=0)]


def test_whoever_a_silent_blob_waits_for_is_probed_and_nobody_is_while_bytes_come() -> None:
    script = wanting()
    effects = script.hear("b", Join(SPEC, 0b1))
    for _ in range(4):
        effects += script.wait(0.5)
        effects += script.tell(on.PieceProgressed(TAG, 0, B))
    assert not [effect for effect in effects if isinstance(effect, do.Probe)]
    effects = script.wait(DEFAULT.stall_s + 0.2)
    assert {do.Probe(A), do.Probe(B)} <= set(effects), "its tracker, and the one it asked"


def test_the_tracker_hears_sooner_where_the_only_holder_was_lost() -> None:
    script = wanting()
    script.hear("a", LeaseNone(TAG))
    script.hear("b", Join(SPEC, 0b1))
    script.wait(DEFAULT.stall_s - 0.2)
    script.tell(on.PeerLost(B, failed=True))
    effects = script.wait(0.4)
    assert LeaseWanted(TAG, stuck_piece=0) in said(effects, to="a")


def test_nor_is_a_holder_waited_for_that_was_lost_before_it_said_what_it_has() -> None:
    script = wanting()
    script.hear("a", LeaseNone(TAG), Introduce(TAG, (B,)))
    script.wait(DEFAULT.stall_s - 0.2)
    script.tell(on.PeerLost(B, failed=True))
    effects = script.wait(0.4)
    assert LeaseWanted(TAG, stuck_piece=0) in said(effects, to="a")


def test_a_blob_is_not_stuck_while_the_neighbour_it_waits_for_sends_another() -> None:
    # On a slow link a piece can take its turn for longer than a lease's patience.
    script = wanting()
    other = blob(pieces=40, name="other")
    script.tell(on.BlobWanted(other))
    script.hear("b", Join(SPEC, 0b1), Join(other, (1 << 40) - 1))
    effects: list[do.Effect] = []
    for number in range(10):
        effects += script.wait(0.5)
        effects += script.tell(on.PieceProgressed(other.tag, number, B))
    assert not [m for m in said(effects) if isinstance(m, LeaseWanted) and m.stuck_piece >= 0]
    effects = script.wait(2.0)
    assert LeaseWanted(TAG, stuck_piece=0) in said(effects), "but not for ever"


def test_a_blob_that_others_are_at_work_on_is_waited_for_longer() -> None:
    script = wanting()
    script.hear("b", Join(SPEC, 0))
    for _ in range(30):
        script.hear("a", LeaseNone(TAG))
        assert not gave_up(script.wait(1.0))
    script.hear("a", LeaseNone(TAG))
    assert gave_up(script.wait(10.0))


def test_without_a_word_from_the_tracker_the_registry_is_asked_without_a_lease() -> None:
    script = wanting()
    effects = script.wait(7.0)
    assert do.FetchFromRegistry(TAG, 0, 1) in effects
    assert Announce in [type(m) for m in said(effects, to="b")], "the next is to track"
    assert endings(script.tell(piece(0), on.RegistryEnded(TAG, 0))) == []


def waits(script: Script, *, most_s: float = 20.0) -> tuple[float, float]:
    """Let the tracker refuse all leases; return when it is told of that, and when another asked."""
    told_s = asked_s = -1.0
    for tenths in range(int(10 * most_s)):
        effects = script.wait(0.1)
        for message in said(effects, to="a"):
            if isinstance(message, LeaseWanted):
                script.hear("a", LeaseNone(TAG))
                told_s = tenths / 10 if told_s < 0 and message.stuck_piece >= 0 else told_s
        if asked_s < 0 and LeaseWanted(TAG) in said(effects, to="b"):
            asked_s = tenths / 10
    return told_s, asked_s


def test_a_tracker_that_leads_nowhere_is_told_and_then_done_without() -> None:
    script = wanting()
    script.hear("a", LeaseNone(TAG))
    told_s, asked_s = waits(script, most_s=5.0)
    assert 1.5 < told_s < asked_s < 3.5


def test_a_tracker_that_leads_only_to_who_sends_nothing_is_done_without_too() -> None:
    script = wanting()
    script.hear("a", LeaseNone(TAG))
    script.hear("b", Join(SPEC, 0xFF))
    _, asked_s = waits(script, most_s=5.0)
    assert 0 < asked_s < 4.5


def test_a_tracker_is_not_done_without_while_a_neighbour_may_be_at_work() -> None:
    script = wanting()
    script.hear("a", LeaseNone(TAG))
    script.hear("b", Join(SPEC, 0))
    _, asked_s = waits(script, most_s=10.0)
    assert asked_s < 0


def test_a_tracker_that_is_done_without_is_not_gone_back_to() -> None:
    script = wanting()
    script.hear("a", LeaseNone(TAG))
    waits(script, most_s=5.0)
    effects = script.tell(on.PeerLost(B), on.PeerLost(A)) + script.connect("a")
    effects += script.wait(DEFAULT.takeover_grace_s + 0.2)
    assert said(effects, to="a") == []
    assert [e for e in effects if isinstance(e, do.FetchFromRegistry)], "this node is the next"


def test_a_blob_without_any_progress_is_given_up_in_time_for_the_client_to_ask_elsewhere() -> None:
    script = wanting()
    script.hear("b", Join(SPEC, 0))
    script.wait(5.0)
    script.hear("a", LeaseGranted(TAG, 0, 1))  # and the registry says nothing
    assert gave_up(script.wait(DEFAULT.give_up_s - 5.0 + 0.3))
    assert not gave_up(script.wait(30.0)), "readers are told once"


def test_a_registry_that_keeps_failing_is_told_within_seconds() -> None:
    script = Script("me")
    effects = script.tell(on.BlobWanted(SPEC))
    began_s = script.now_s
    while not gave_up(effects):
        fetches = [effect for effect in effects if isinstance(effect, do.FetchFromRegistry)]
        effects = script.tell(*(on.RegistryEnded(TAG, fetch.first, FAULT) for fetch in fetches))
        effects += script.wait(0.1)
    assert 0.5 < script.now_s - began_s < 3.0


def test_pieces_that_came_between_failures_keep_a_blob_alive() -> None:
    script = Script("me")
    script.tell(on.BlobWanted(SPEC))
    for number in range(7):
        assert not gave_up(script.tell(piece(number, REGISTRY)))
        assert not gave_up(script.tell(on.RegistryEnded(TAG, number, FAULT)))
        script.wait(1.0)


def test_a_failing_registry_is_no_matter_while_a_neighbour_has_what_is_missing() -> None:
    script = wanting()
    script.hear("b", Join(SPEC, 0xFF))
    for _ in range(5):
        script.hear("a", LeaseGranted(TAG, 7, 1))
        assert not gave_up(script.tell(on.RegistryEnded(TAG, 7, FAULT)))
        script.tell(on.PieceProgressed(TAG, 0, B))


# --- when the registry asks to be left alone --------------------------------------------------


def given_up_after_s(script: Script, *, most_s: float = 8.0) -> float | None:
    """Return after how many seconds readers are told that the blob will not come."""
    for tenths in range(int(10 * most_s)):
        if any(isinstance(effect, do.GiveUp) for effect in script.wait(0.1)):
            return tenths / 10
    return None


def test_a_registry_that_asks_for_an_hour_is_not_waited_for_by_readers() -> None:
    script = Script("me")
    script.tell(on.BlobWanted(SPEC))
    for first in list(script.swarm.exchanges[TAG].runs):
        script.tell(on.RegistryEnded(TAG, first, FAULT, retry_after_s=3600.0))
    after_s = given_up_after_s(script)
    assert after_s is not None
    assert after_s < 2.0


def test_a_registry_that_asks_for_an_hour_does_not_end_what_a_peer_may_bring() -> None:
    script = leased()
    script.hear("b", Join(SPEC, 0xFF))
    script.tell(on.RegistryEnded(TAG, 0, FAULT, retry_after_s=3600.0))
    for number in range(4):
        assert given_up_after_s(script, most_s=2.5) is None
        script.tell(piece(number, B))


def test_where_there_are_others_they_have_a_while_to_end_what_they_began() -> None:
    script = leased()
    script.tell(on.RegistryEnded(TAG, 0, FAULT, retry_after_s=3600.0))
    after_s = given_up_after_s(script)
    assert after_s is not None
    assert 2.0 < after_s < 5.0


def test_a_registry_that_asks_for_some_seconds_is_waited_for() -> None:
    script = leased()
    script.tell(on.RegistryEnded(TAG, 0, FAULT, retry_after_s=5.0))
    script.hear("a", Introduce(TAG, ()))
    assert given_up_after_s(script, most_s=4.5) is None


# --- when the registry denies -----------------------------------------------------------------


def denied() -> Script:
    script = leased(0, 1)
    assert endings(script.tell(on.RegistryEnded(TAG, 0, RegistryFault.DENIED))) == [(0, 0, DENIED)]
    return script


def test_a_denied_node_asks_for_no_lease_and_waits_for_its_peers() -> None:
    script = denied()
    for number in range(8):
        assert LeaseWanted(TAG) not in said(script.wait(2.0), to="a")
        effects = script.tell(piece(number, B))
        assert not gave_up(effects)


def test_a_denied_node_waits_while_its_tracker_says_that_others_are_at_work() -> None:
    script = denied()
    for _ in range(8):
        script.hear("a", LeaseNone(TAG))
        assert not gave_up(script.wait(1.0))
    script.hear("a", LeaseNone(TAG))
    assert gave_up(script.wait(1.5)), "and no longer than others do"


def test_a_denied_node_for_which_nobody_works_gives_up_soon() -> None:
    # So that its client authenticates anew.
    assert gave_up(denied().wait(5.0))


def test_a_denied_node_never_goes_to_the_registry_without_a_lease() -> None:
    effects = denied().wait(20.0)
    assert not any(isinstance(effect, do.FetchFromRegistry) for effect in effects)


def test_a_lone_node_that_is_denied_gives_up_at_once() -> None:
    script = Script("me")
    script.tell(on.BlobWanted(SPEC))
    assert not gave_up(script.tell(on.RegistryEnded(TAG, 0, RegistryFault.DENIED)))
    assert gave_up(script.tell(on.RegistryEnded(TAG, 1, RegistryFault.DENIED)))


def test_a_client_with_a_new_credential_begins_anew() -> None:
    script = Script("me")
    script.tell(on.BlobWanted(SPEC))
    script.tell(on.RegistryEnded(TAG, 0, RegistryFault.DENIED))
    script.tell(on.BlobDropped(TAG))
    assert do.FetchFromRegistry(TAG, 0, 1) in script.tell(on.BlobWanted(SPEC))
