"""Links and the bytes on them."""

from dataclasses import dataclass, field
from typing import Any

import pytest

from shoal.core.blob import MIB, BlobSpec
from shoal.sim.clock import Clock
from shoal.sim.network import Flow, Link, Network
from shoal.testing.swarm_script import blob

SPEC = blob(size_bytes=64 * MIB)
RATE = float(MIB)


@dataclass
class End:
    """A node's links."""

    alive: bool = True
    up: Link = field(default_factory=lambda: Link(RATE))
    down: Link = field(default_factory=lambda: Link(RATE))


@dataclass
class Seen:
    """What the network said, and when."""

    clock: Clock
    arrived: list[tuple[Flow, int, float]] = field(default_factory=list)
    progressed: list[float] = field(default_factory=list)
    sent: list[Flow] = field(default_factory=list)
    broke: list[Flow] = field(default_factory=list)

    def piece_begins(self, flow: Flow) -> bool:
        """Keep everything."""
        return True

    def piece_progressed(self, flow: Flow, piece: int) -> None:
        """Note it."""
        self.progressed.append(self.clock.now_s)

    def piece_arrived(self, flow: Flow, piece: int) -> None:
        """Note it."""
        self.arrived.append((flow, piece, self.clock.now_s))

    def flow_sent(self, flow: Flow) -> None:
        """Note it."""
        self.sent.append(flow)

    def flow_broke(self, flow: Flow) -> None:
        """Note it."""
        self.broke.append(flow)


def flow(sender: End, receiver: End, piece: int = 0, **options: Any) -> Flow:
    settings: dict[str, Any] = {
        "kind": 0,
        "spec": SPEC,
        "first": piece,
        "count": 1,
        "uplink": sender.up,
        "hops": (receiver.down,),
        "latency_s": 0.5,
        "wire_factor": 1.0,
        "block_bytes": SPEC.piece_bytes // 8,
        "sender": sender,
        "receiver": receiver,
    }
    return Flow(**(settings | options))


@pytest.fixture
def seen() -> Seen:
    return Seen(Clock())


@pytest.fixture
def network(seen: Seen) -> Network:
    return Network(seen.clock, seen, piece_delay_s=0.0)


PIECE_S = SPEC.piece_bytes / RATE


def test_a_piece_takes_its_time_on_one_link_and_the_latency_not_both_links_in_turn(
    network: Network, seen: Seen
) -> None:
    network.start(flow(End(), End()))
    seen.clock.run(until_s=100)
    ((_, piece, at_s),) = seen.arrived
    assert piece == 0
    assert at_s == pytest.approx(PIECE_S + 0.5)
    assert len(seen.sent) == 1


def test_flows_of_one_sender_share_its_link_fairly(network: Network, seen: Seen) -> None:
    sender = End()
    for piece in range(2):
        network.start(flow(sender, End(), piece))
    seen.clock.run(until_s=100)
    first, second = (at_s for _, _, at_s in seen.arrived)
    assert second == pytest.approx(2 * PIECE_S + 0.5)
    assert first >= second - PIECE_S / 8 - 1e-9


def test_a_receiver_takes_from_many_what_its_link_carries_and_no_sender_is_kept_busy_for_nothing(
    network: Network, seen: Seen
) -> None:
    receiver, other = End(), End()
    senders = [End() for _ in range(4)]
    for piece, sender in enumerate(senders):
        network.start(flow(sender, receiver, piece))
    network.start(flow(senders[0], other, 9))
    seen.clock.run(until_s=100)
    times = {piece: at_s for _, piece, at_s in seen.arrived}
    assert max(times[piece] for piece in range(4)) == pytest.approx(4 * PIECE_S + 0.5)
    assert times[9] < 2.5 * PIECE_S + 0.5  # it has what the full link leaves of its sender's


def test_a_capped_connection_leaves_the_link_to_others(network: Network, seen: Seen) -> None:
    sender = End()
    network.start(flow(sender, End(), 0, bytes_per_s=RATE / 10))
    network.start(flow(sender, End(), 1))
    seen.clock.run(until_s=100)
    times = {piece: at_s for _, piece, at_s in seen.arrived}
    assert times[1] < 1.5 * PIECE_S + 0.5
    assert 8 * PIECE_S < times[0] < 11 * PIECE_S


def test_a_link_on_the_way_is_passed_while_the_block_is_still_sent(
    network: Network, seen: Seen
) -> None:
    receiver = End()
    network.start(flow(End(), receiver, hops=(Link(RATE / 2), receiver.down)))
    seen.clock.run(until_s=100)
    assert seen.arrived[0][2] == pytest.approx(2 * PIECE_S + 0.5, rel=0.1)


def test_a_run_of_pieces_arrives_piece_by_piece_and_slow_ones_show_progress(
    network: Network, seen: Seen
) -> None:
    network.start(flow(End(), End(), count=3))
    seen.clock.run(until_s=100)
    assert [piece for _, piece, _ in seen.arrived] == [0, 1, 2]
    slow = End(up=Link(RATE / 100))
    network.start(flow(slow, End(), 5))
    seen.clock.run(until_s=200)
    assert seen.progressed


def test_flows_break_when_an_end_dies_or_when_they_are_stopped(
    network: Network, seen: Seen
) -> None:
    sender = End()
    flows = [flow(sender, End(), piece) for piece in range(3)]
    for it in flows:
        network.start(it)
    flows[0].stopped = True
    flows[1].receiver.alive = False
    seen.clock.run(until_s=100)
    assert set(seen.broke) == {flows[0], flows[1]}
    assert [it for it, _, _ in seen.arrived] == [flows[2]]


def test_messages_in_between_take_their_share(network: Network, seen: Seen) -> None:
    sender = End()
    network.start(flow(sender, End()))
    sender.up.debt_bytes += RATE
    seen.clock.run(until_s=100)
    assert seen.arrived[0][2] == pytest.approx(PIECE_S + 1.5)


def test_the_specs_size_is_what_the_link_has_carried(network: Network, seen: Seen) -> None:
    odd = BlobSpec(SPEC.registry, SPEC.digest, SPEC.piece_bytes + 1)
    sender = End()
    network.start(flow(sender, End(), spec=odd, count=2))
    seen.clock.run(until_s=100)
    assert sender.up.carried_bytes == odd.length_bytes
