"""Links of limited rate, and the bytes on them.

Each sending link serves its flows in turns of one block, as fair queues do and as TCP's flows come
to do; a block goes through the links after it while it is still being sent. A receiving link is
first come, first served, and holds its senders back as full TCP windows do.
"""

from collections import deque
from typing import Protocol

from shoal.core.blob import BlobSpec
from shoal.sim.clock import Clock
from shoal.sim.wire import ACK_SHARE

PROGRESS_S = 0.25  # as the agent: the swarm hears so often that bytes of a piece arrive
FIRST_PROGRESS_S = 0.05  # and that one has begun, unless all of it is there by then
WINDOW_BLOCKS = 2  # that a flow may have under way before a full link further on holds it back


class Link:
    """One direction of a node's link, of a site's uplink, or the registry's."""

    __slots__ = ("busy", "bytes_per_s", "carried_bytes", "debt_bytes", "flows", "free_s")

    def __init__(self, bytes_per_s: float) -> None:
        self.bytes_per_s = bytes_per_s  # on the wire, headers included
        self.flows: deque[Flow] = deque()
        self.busy = False
        self.debt_bytes = 0.0  # messages and acknowledgements, sent before the next block
        self.free_s = 0.0  # for what passes through
        self.carried_bytes = 0  # of pieces, sent from here


class Flow:
    """Adjacent pieces of a blob on their way over one connection."""

    __slots__ = (
        "block_bytes",
        "bytes_per_s",
        "end",
        "first",
        "hops",
        "kind",
        "latency_s",
        "left_bytes",
        "piece",
        "receiver",
        "resume_s",
        "sender",
        "spec",
        "stopped",
        "told_s",
        "uplink",
        "wire_factor",
        "writes",
    )

    def __init__(
        self,
        *,
        kind: int,
        spec: BlobSpec,
        first: int,
        count: int,
        uplink: Link,
        hops: tuple[Link, ...],
        latency_s: float,
        wire_factor: float,
        block_bytes: int,
        sender: "Endpoint | None",
        receiver: "Endpoint",
        bytes_per_s: float = 0.0,
    ) -> None:
        """Make a flow that has sent nothing yet.

        Args:
            kind: whatever its owner calls it.
            spec: the blob.
            first: the first piece.
            count: how many pieces.
            uplink: the link that it takes turns on.
            hops: the links that it passes after that.
            latency_s: from end to end, one way.
            wire_factor: bytes on the wire for each byte of the blob.
            block_bytes: bytes of the blob sent in one turn.
            sender: the node at one end, None for the registry.
            receiver: the node at the other.
            bytes_per_s: a cap on this connection; 0 for none.
        """
        self.kind = kind
        self.spec = spec
        self.first = self.piece = first
        self.end = first + count
        self.uplink = uplink
        self.hops = hops
        self.latency_s = latency_s
        self.wire_factor = wire_factor
        self.block_bytes = block_bytes
        self.sender = sender
        self.receiver = receiver
        self.bytes_per_s = bytes_per_s
        self.left_bytes = 0  # of `piece`; 0 before it begins
        self.resume_s = 0.0
        self.told_s = 0.0
        self.stopped = False
        self.writes = False  # whether the receiver keeps what arrives


class Endpoint(Protocol):
    """What a flow needs to know of a node."""

    alive: bool
    up: Link


class Owner(Protocol):
    """Whom the network tells what becomes of flows."""

    def piece_begins(self, flow: Flow) -> bool:
        """Return whether the receiver keeps the bytes of the flow's next piece."""
        ...

    def piece_progressed(self, flow: Flow, piece: int) -> None:
        """Bytes of a piece arrived, not the last."""
        ...

    def piece_arrived(self, flow: Flow, piece: int) -> None:
        """All bytes of a piece arrived."""
        ...

    def flow_sent(self, flow: Flow) -> None:
        """The last byte left its sender."""
        ...

    def flow_broke(self, flow: Flow) -> None:
        """The flow was stopped, or an end of it is gone: no more of it comes."""
        ...


class Network:
    """Sends flows block by block."""

    __slots__ = ("_clock", "_owner", "piece_delay_s")

    def __init__(self, clock: Clock, owner: Owner, *, piece_delay_s: float) -> None:
        self._clock = clock
        self._owner = owner
        self.piece_delay_s = piece_delay_s  # from a piece's last byte until it is checked and kept

    def start(self, flow: Flow, _: object = None) -> None:
        """Let `flow` take its turns on its link from now on."""
        flow.told_s = self._clock.now_s - PROGRESS_S + FIRST_PROGRESS_S
        link = flow.uplink
        link.flows.append(flow)
        if not link.busy:
            self._serve(link)

    def _serve(self, link: Link) -> None:
        """Send the next block of a link that is free now."""
        flows = link.flows
        while flows:
            flow = flows.popleft()
            sender = flow.sender
            if flow.stopped or not flow.receiver.alive or not (sender is None or sender.alive):
                self._owner.flow_broke(flow)
                continue
            link.busy = True
            self._send_block(link, flow)
            return
        link.busy = False
        link.debt_bytes = 0.0

    def _send_block(self, link: Link, flow: Flow) -> None:
        clock = self._clock
        now_s = clock.now_s
        left = flow.left_bytes
        if not left:
            left = flow.spec.size(flow.piece)
            flow.writes = self._owner.piece_begins(flow)
        size = flow.block_bytes
        if size >= left:
            size = left
        flow.left_bytes = left = left - size
        link.carried_bytes += size
        wire = size * flow.wire_factor + link.debt_bytes
        link.debt_bytes = 0.0
        end_s = now_s + wire / link.bytes_per_s
        latency_s = flow.latency_s
        here_s = arrive_s = end_s + latency_s
        begin_s = now_s + latency_s
        spent_s = 0.0
        for hop in flow.hops:
            if hop.free_s > begin_s:
                begin_s = hop.free_s
            spent_s = wire / hop.bytes_per_s
            hop.free_s = free_s = begin_s + spent_s
            if free_s > arrive_s:
                arrive_s = free_s
        resume_s = arrive_s - here_s - WINDOW_BLOCKS * spent_s + end_s
        if flow.bytes_per_s:
            capped_s = now_s + size / flow.bytes_per_s
            if capped_s > resume_s:
                resume_s = capped_s
        flow.resume_s = resume_s
        back = flow.receiver.up
        if back.busy:
            back.debt_bytes += size * ACK_SHARE
        if not left:
            clock.at(arrive_s + self.piece_delay_s, self._owner.piece_arrived, flow, flow.piece)
            flow.piece += 1
        elif arrive_s - flow.told_s >= PROGRESS_S:
            flow.told_s = arrive_s
            clock.at(arrive_s, self._owner.piece_progressed, flow, flow.piece)
        clock.at(end_s, self._block_sent, link, flow)

    def _block_sent(self, link: Link, flow: Flow) -> None:
        if flow.piece == flow.end:
            self._owner.flow_sent(flow)
        elif flow.resume_s > self._clock.now_s:
            self._clock.at(flow.resume_s, self._resume, flow)
        else:
            link.flows.append(flow)
        self._serve(link)

    def _resume(self, flow: Flow, _: object) -> None:
        link = flow.uplink
        link.flows.append(flow)
        if not link.busy:
            self._serve(link)
