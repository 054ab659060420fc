"""A small world in virtual time, in which `Swarm` objects pull blobs from each other.

Links are served in blocks, round robin over what is being sent, first come first served at the
receiver; messages take a fixed latency. There is no disk, no loss and no protocol overhead.
"""

import heapq
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

from shoal.core import bitmap
from shoal.core.blob import KIB, BlobSpec, BlobTag
from shoal.core.peer import PeerId
from shoal.core.swarm import effects as do
from shoal.core.swarm import events as on
from shoal.core.swarm.events import REGISTRY
from shoal.core.swarm.policy import DEFAULT, Policy
from shoal.core.swarm.swarm import Swarm

BLOCK_BYTES = 64 * KIB


@dataclass(slots=True)
class _Flow:
    """A piece, or a run of pieces, on its way."""

    source: PeerId
    target: PeerId
    spec: BlobSpec
    pieces: list[int]
    left_bytes: int
    sent_of_piece: int = 0
    stopped: bool = False


@dataclass(slots=True)
class _Link:
    """One direction of a node's link, or the registry's."""

    rate_bytes_per_s: float
    flows: deque[_Flow] = field(default_factory=deque)
    busy: bool = False
    free_s: float = 0.0


@dataclass(slots=True)
class Node:
    """One node: its swarm and its links."""

    swarm: Swarm
    up: _Link
    down: _Link
    alive: bool = True
    started_s: float = 0.0
    finished_s: dict[BlobTag, float] = field(default_factory=dict)
    gave_up: dict[BlobTag, str] = field(default_factory=dict)
    uploaded_bytes: int = 0


class World:
    """Nodes, a registry, and the virtual time between them."""

    def __init__(
        self,
        *,
        nodes: int,
        rate_bytes_per_s: float,
        registry_bytes_per_s: float,
        latency_s: float = 0.001,
        seed: int = 1,
        policy: Policy = DEFAULT,
        check: bool = True,
    ) -> None:
        self.now_s = 0.0
        self.latency_s = latency_s
        self.registry_bytes = 0
        self.registry_up = True
        self.messages = 0
        self.registry = _Link(registry_bytes_per_s)
        self.check = check
        self._queue: list[tuple[float, int, Callable[[], None]]] = []
        self._count = 0
        names = [PeerId(f"n{i:04}") for i in range(nodes)]
        self.nodes = {
            name: Node(
                Swarm(me=name, rng=Random(f"{seed} {name}"), policy=policy),  # noqa: S311
                _Link(rate_bytes_per_s),
                _Link(rate_bytes_per_s),
            )
            for name in names
        }
        for name in names:
            self.tell(name, on.MembersChanged(frozenset(names)))
            self._tick(name)

    def after(self, delay_s: float, action: Callable[[], None]) -> None:
        """Run `action` in `delay_s` seconds of virtual time."""
        self._count += 1
        heapq.heappush(self._queue, (self.now_s + delay_s, self._count, action))

    def run(self, *, until_s: float, done: Callable[[], bool] = lambda: False) -> None:
        """Let time pass until `until_s`, or until `done` says so."""
        while self._queue and not done():
            at_s, _, action = heapq.heappop(self._queue)
            if at_s > until_s:
                self.now_s = until_s
                return
            self.now_s = at_s
            action()

    def want(self, name: PeerId, spec: BlobSpec, *, at_s: float = 0.0) -> None:
        """Let a client of node `name` want a blob at a time."""

        def begin() -> None:
            self.nodes[name].started_s = self.now_s
            self.tell(name, on.BlobWanted(spec))

        self.after(at_s, begin)

    def kill(self, name: PeerId) -> None:
        """Node `name` is gone, and everybody connected to it notices."""
        self.nodes[name].alive = False
        for other, node in self.nodes.items():
            if name in node.swarm.site.links:
                self.tell(other, on.PeerLost(name))

    def finished(self, spec: BlobSpec) -> bool:
        """Whether every live node has the blob or gave it up."""
        tag = spec.tag
        return all(
            tag in node.finished_s or tag in node.gave_up
            for node in self.nodes.values()
            if node.alive
        )

    def tell(self, name: PeerId, event: on.Event) -> None:
        """Let `event` happen at node `name`, and carry out what it decides."""
        node = self.nodes[name]
        if not node.alive:
            return
        for effect in node.swarm.handle(event, now_s=self.now_s):
            self._do(name, node, effect)
        if self.check:
            node.swarm.check()

    def _tick(self, name: PeerId) -> None:
        def tick() -> None:
            if self.nodes[name].alive:
                self.tell(name, on.Ticked())
                self._tick(name)

        self.after(self.nodes[name].swarm.tick_s, tick)

    def _do(self, name: PeerId, node: Node, effect: do.Effect) -> None:
        match effect:
            case do.Connect(peer):
                self.after(3 * self.latency_s, lambda: self._connect(name, peer))
            case do.Disconnect(peer, _):
                self.after(0, lambda: self.tell(name, on.PeerLost(peer)))
                self.after(self.latency_s, lambda: self.tell(peer, on.PeerLost(name)))
            case do.Send(peer, message):
                self.messages += 1
                arrived = on.MessageArrived(name, message)
                self.after(self.latency_s, lambda: self._deliver(name, peer, arrived))
            case do.SendPiece(peer, tag, piece):
                spec = node.swarm.exchanges[tag].spec
                self._flow(node.up, _Flow(name, peer, spec, [piece], spec.size(piece)))
            case do.FetchFromRegistry(tag, first, count):
                spec = node.swarm.exchanges[tag].spec
                if not self.registry_up:
                    fault = on.RegistryEnded(tag, first, on.RegistryFault.FAILED)
                    self.after(self.latency_s, lambda: self.tell(name, fault))
                    return
                pieces = list(range(first, first + count))
                size = sum(spec.size(piece) for piece in pieces)
                flow = _Flow(REGISTRY, name, spec, pieces, size)
                self.after(2 * self.latency_s, lambda: self._flow(self.registry, flow))
            case do.StopRegistryFetch():
                pass
            case do.GiveUp(tag, reason):
                node.gave_up[tag] = reason

    def _deliver(self, source: PeerId, target: PeerId, event: on.Event) -> None:
        if self.nodes[source].alive and source in self.nodes[target].swarm.site.links:
            self.tell(target, event)

    def _connect(self, name: PeerId, peer: PeerId) -> None:
        if not self.nodes[peer].alive:
            self.tell(name, on.PeerLost(peer))
            return
        if peer not in self.nodes[name].swarm.site.links:
            self.tell(peer, on.PeerConnected(name))
            self.tell(name, on.PeerConnected(peer))

    def _flow(self, link: _Link, flow: _Flow) -> None:
        link.flows.append(flow)
        if not link.busy:
            self._send_block(link)

    def _send_block(self, link: _Link) -> None:
        while link.flows and not self.nodes[link.flows[0].target].alive:
            self._uploaded(link.flows.popleft())
        if not link.flows:
            link.busy = False
            return
        link.busy = True
        flow = link.flows.popleft()
        piece_bytes = flow.spec.size(flow.pieces[0])
        size = min(BLOCK_BYTES, piece_bytes - flow.sent_of_piece)
        flow.sent_of_piece += size
        flow.left_bytes -= size
        if flow.source == REGISTRY:
            self.registry_bytes += size
        else:
            self.nodes[flow.source].uploaded_bytes += size
        piece = flow.pieces[0]
        ends = flow.sent_of_piece == piece_bytes
        if ends:
            flow.pieces.pop(0)
            flow.sent_of_piece = 0
        time_s = size / link.rate_bytes_per_s

        def sent() -> None:
            down = self.nodes[flow.target].down
            start_s = max(self.now_s + self.latency_s, down.free_s)
            down.free_s = start_s + size / down.rate_bytes_per_s
            # The receiver's link holds a sender back, as a full TCP window does.
            held_back_s = max(0.0, down.free_s - self.now_s - self.latency_s - 2 * time_s)
            last = not flow.pieces
            self.after(
                down.free_s - self.now_s, lambda: self._block_arrived(flow, piece, ends, last)
            )
            if last:
                self._uploaded(flow)
            elif held_back_s > 0:
                self.after(held_back_s, lambda: self._flow(link, flow))
            else:
                link.flows.append(flow)
            self._send_block(link)

        self.after(time_s, sent)

    def _uploaded(self, flow: _Flow) -> None:
        if flow.source != REGISTRY:
            ended = on.UploadEnded(flow.target, flow.spec.tag, flow.pieces[0] if flow.pieces else 0)
            self._forget_upload(flow, ended)

    def _forget_upload(self, flow: _Flow, ended: on.UploadEnded) -> None:
        # The swarm names an upload by its piece; the flow has dropped it by now, so ask the swarm.
        sending = self.nodes[flow.source].swarm.uploads.sending
        for peer, tag, piece in sorted(sending):
            if peer == ended.peer and tag == ended.tag:
                self.tell(flow.source, on.UploadEnded(peer, tag, piece))
                return

    def _block_arrived(self, flow: _Flow, piece: int, ends: bool, last: bool) -> None:
        name, tag = flow.target, flow.spec.tag
        node = self.nodes[name]
        exchange = node.swarm.exchanges.get(tag)
        if not node.alive or exchange is None:
            return
        if not ends:
            self.tell(name, on.PieceProgressed(tag, piece, flow.source))
            return
        self.tell(name, on.PieceStored(tag, piece, flow.source))
        if flow.source == REGISTRY and last:
            self.tell(name, on.RegistryEnded(tag, piece - self._run_offset(node, tag, piece)))
        exchange = node.swarm.exchanges.get(tag)
        if exchange:
            # The client reads as far as it can.
            _, reach = bitmap.lowest_run(exchange.held | 1, longest=flow.spec.pieces)
            if exchange.held & 1 and reach > exchange.reader_piece:
                self.tell(name, on.ReaderMoved(tag, reach))
        if exchange and exchange.held == bitmap.full(flow.spec.pieces):
            node.finished_s.setdefault(tag, self.now_s - node.started_s)
            if tag not in node.swarm.holds.specs:
                self.tell(name, on.BlobStored(flow.spec))

    def _run_offset(self, node: Node, tag: BlobTag, piece: int) -> int:
        for run in node.swarm.exchanges[tag].runs.values():
            if run.first <= piece < run.first + run.count:
                return piece - run.first
        return 0
