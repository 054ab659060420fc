"""The script: events in, picked answers out."""

from shoal.core.blob import MIN_PIECE_BYTES
from shoal.core.membership.placement import ranked
from shoal.core.peer import PeerId
from shoal.core.swarm import effects as do
from shoal.core.swarm import events as on
from shoal.core.wire.messages import Busy, Ping, Request
from shoal.testing.swarm_script import Script, blob, blob_tracked_by, orders, said

A, B = PeerId("a"), PeerId("b")


def test_a_blob_has_the_pieces_or_the_size_that_was_asked_for() -> None:
    assert blob(pieces=3).pieces == 3
    assert blob(pieces=3).length_bytes == 3 * MIN_PIECE_BYTES
    assert blob(size_bytes=1).length_bytes == 1


def test_blobs_of_other_names_are_other_blobs() -> None:
    assert blob(name="one").tag == blob(name="one").tag != blob(name="two").tag


def test_a_blob_is_tracked_by_the_members_in_the_order_that_was_asked_for() -> None:
    spec = blob_tracked_by("b", "me", "a", pieces=2)
    assert ranked(spec.tag, [A, B, PeerId("me")]) == ["b", "me", "a"]
    assert spec.pieces == 2


def test_messages_and_orders_are_told_apart() -> None:
    effects: list[do.Effect] = [
        do.Connect(A),
        do.Send(A, Ping()),
        do.Send(B, Request(blob().tag, 1)),
    ]
    assert said(effects, to="a") == [Ping()]
    assert len(said(effects)) == 2
    assert orders(effects) == [do.Connect(A)]


def test_time_passes_only_when_it_is_told_to() -> None:
    script = Script("me")
    began_s = script.now_s
    script.tell(on.Ticked())
    assert script.now_s == began_s
    script.tell(on.Ticked(), after_s=2.0)
    script.wait(0.25)
    assert abs(script.now_s - began_s - 2.25) < 1e-9


def test_a_peer_that_connected_can_be_heard() -> None:
    script = Script("me", "a")
    script.connect("a")
    request = Request(blob().tag, 0)
    assert said(script.hear("a", request), to="a") == [Busy(request.tag, 0)]
