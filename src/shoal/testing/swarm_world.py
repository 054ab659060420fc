"""A small world in virtual time, in which `Swarm` objects pull blobs from each other.

Links are served in blocks, round robin over what is being sent, first come first served at the
receiver; messages take a fixed latency. There is no disk, no loss and no protocol overhead. The
same seed gives the same world, effect for effect.

Things go wrong where a test says so: nodes die or were never there, take requests and answer none,
send wrong pieces, are refused by the registry; the registry goes away and comes back.
"""

import heapq
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import blake2b
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
RETRY_S = 0.5  # until a client whose blob was wrong asks again
STALLED_S = 1.0  # as the agent: after that another source may write the piece instead
MEMBERS_FOR_S = 60.0  # so long the nodes of a site have known each other when a test begins


@dataclass(slots=True)
class _Flow:
    """Adjacent pieces on their way; one piece where the source is a peer."""

    source: PeerId
    target: PeerId
    spec: BlobSpec
    first: int
    count: int
    piece: int = field(init=False)
    sent_of_piece: int = 0
    stopped: bool = False  # by whoever asked for it

    def __post_init__(self) -> None:
        self.piece = self.first

    @property
    def over(self) -> bool:
        return self.piece == self.first + self.count


@dataclass(slots=True)
class _Link:
    """One direction of a node's link, or the registry's."""

    rate_bytes_per_s: float
    flows: deque[_Flow] = field(default_factory=deque)
    busy: bool = False
    free_s: float = 0.0


@dataclass(slots=True)
class _Incoming:
    """A piece that is being received, and on which flow: one writer a piece."""

    flow: _Flow
    progress_s: float


@dataclass(slots=True)
class Node:
    """One node: its swarm, its links, and what is wrong with it."""

    swarm: Swarm
    up: _Link
    down: _Link
    alive: bool = True
    mute: bool = False  # takes requests and sends no piece
    lies: bool = False  # sends pieces that fail their check
    deceives: bool = False  # sends wrong pieces that pass it: only the whole blob's digest tells
    denied: bool = False  # the registry refuses its credential
    started_s: dict[BlobTag, float] = field(default_factory=dict)
    finished_s: dict[BlobTag, float] = field(default_factory=dict)  # after its start
    gave_up: dict[BlobTag, str] = field(default_factory=dict)
    held_when_gave_up: dict[BlobTag, int] = field(default_factory=dict)
    incoming: dict[tuple[BlobTag, int], _Incoming] = field(default_factory=dict)
    wrong: dict[BlobTag, dict[int, PeerId]] = field(default_factory=dict)  # piece -> from whom
    passed: dict[BlobTag, set[PeerId]] = field(default_factory=dict)  # who sent wrong pieces
    rejections: dict[BlobTag, int] = field(default_factory=dict)
    blamed: set[PeerId] = field(default_factory=set)
    uploaded_bytes: int = 0
    fetches: int = 0  # from the registry


class World:
    """Nodes, a registry, and the virtual time between them."""

    def __init__(
        self,
        *,
        nodes: int,
        rate_bytes_per_s: float,
        registry_bytes_per_s: float,
        absent: int = 0,
        latency_s: float = 0.001,
        dial_fails_s: float = 2.0,
        seed: int = 1,
        policy: Policy = DEFAULT,
        check_every: int = 1,
    ) -> None:
        """Make a world in which nothing is wanted yet.

        Args:
            nodes: how many nodes live.
            rate_bytes_per_s: of each node's link, each way.
            registry_bytes_per_s: of the registry's link.
            absent: members beside them that do not live; their names come first.
            latency_s: of a message, one way.
            dial_fails_s: until a dial to a node that does not live fails.
            seed: of every node's random choices.
            policy: what the nodes decide by.
            check_every: events of a node between checks of its invariants; 0 for never.
        """
        self.now_s = -MEMBERS_FOR_S
        self.latency_s = latency_s
        self.dial_fails_s = dial_fails_s
        self.registry_bytes = 0
        self.registry_up = True
        self.messages = 0
        self.registry = _Link(registry_bytes_per_s)
        self.traced = False
        self._trace = blake2b()
        self._check_every = check_every
        self._events = 0
        self._registry_flows: dict[tuple[PeerId, BlobTag, int], _Flow] = {}
        self._queue: list[tuple[float, int, Callable[[], None]]] = []
        self._count = 0
        names = [PeerId(f"n{i:04}") for i in range(absent + nodes)]
        self.nodes = {
            name: Node(
                Swarm(me=name, rng=Random(f"{seed} {name}"), policy=policy),  # noqa: S311
                _Link(rate_bytes_per_s),
                _Link(rate_bytes_per_s),
                alive=number >= absent,
            )
            for number, name in enumerate(names)
        }
        for name in names:
            self.tell(name, on.MembersChanged(frozenset(names)))
        self.now_s = 0.0
        for name in names:
            self._tick(name)

    # --- what a test does and sees ------------------------------------------------------------

    @property
    def live(self) -> dict[PeerId, Node]:
        """The nodes that live."""
        return {name: node for name, node in self.nodes.items() if node.alive}

    @property
    def trace(self) -> str:
        """A hash of every effect so far, if `traced`."""
        return self._trace.hexdigest()

    def after(self, delay_s: float, action: Callable[[], None]) -> None:
        """Run `action` in `delay_s` seconds of virtual time."""
        self._count += 1
        heapq.heappush(self._queue, (self.now_s + delay_s, self._count, action))

    def run(self, *, until_s: float, done: Callable[[], bool] = lambda: False) -> None:
        """Let time pass until `until_s`, or until `done` says so."""
        while self._queue and not done():
            at_s, _, action = self._queue[0]
            if at_s > until_s:
                self.now_s = until_s
                return
            heapq.heappop(self._queue)
            self.now_s = at_s
            action()

    def want(self, name: PeerId, spec: BlobSpec, *, at_s: float = 0.0, held: int = 0) -> None:
        """Let a client of node `name` want a blob in `at_s` seconds; `held` is there already."""

        def begin() -> None:
            self.nodes[name].started_s[spec.tag] = self.now_s
            self.tell(name, on.BlobWanted(spec, held))

        self.after(at_s, begin)

    def hold(self, name: PeerId, spec: BlobSpec) -> None:
        """Let node `name` have the whole blob already."""
        self.tell(name, on.BlobStored(spec))

    def join(self, name: PeerId, *, known_after_s: float) -> None:
        """Let `name` join the others now: it knows them, they hear of it after a while."""
        others = frozenset(self.nodes) - {name}
        node = self.nodes[name]
        node.swarm = Swarm(me=name, rng=Random(f"{name} joins"), policy=node.swarm.policy)  # noqa: S311
        for other in others:
            if name in self.nodes[other].swarm.site.links:
                self.tell(other, on.PeerLost(name, failed=False))
            self.tell(other, on.MembersChanged(others))
        self.tell(name, on.MembersChanged(frozenset(self.nodes)))

        def known() -> None:
            for other in others:
                self.tell(other, on.MembersChanged(frozenset(self.nodes)))

        self.after(known_after_s, known)

    def kill(self, name: PeerId, *, noticed_s: float = 0.0) -> None:
        """Node `name` is gone; everybody connected to it notices after `noticed_s`."""
        self.nodes[name].alive = False

        def notice() -> None:
            for other in self.nodes:
                if name in self.nodes[other].swarm.site.links:
                    self._lose(other, name)

        self.after(noticed_s, notice)

    def part(self, one: PeerId, other: PeerId) -> None:
        """The connection between two nodes breaks; both live and can dial each other."""
        self._lose(one, other)
        self._lose(other, one)

    def finished(self, *specs: BlobSpec) -> bool:
        """Whether every live node has the blobs that it wanted, or gave them up."""
        return all(
            spec.tag in node.finished_s or spec.tag in node.gave_up
            for node in self.nodes.values()
            if node.alive
            for spec in specs
        )

    def tell(self, name: PeerId, event: on.Event) -> None:
        """Let `event` happen at node `name`, and carry out what it decides."""
        node = self.nodes[name]
        if not node.alive:
            return
        for effect in node.swarm.handle(event, now_s=self.now_s):
            if self.traced:
                self._trace.update(f"{self.now_s!r} {name} {effect!r}\n".encode())
            self._do(name, node, effect)
        self._events += 1
        if self._check_every and self._events % self._check_every == 0:
            node.swarm.check()

    def post(self, source: PeerId, target: PeerId, event: on.MessageArrived) -> None:
        """Bring a message on its way; a test may make it late, or bring it twice."""
        self.after(self.latency_s, lambda: self.deliver(source, target, event))

    def deliver(self, source: PeerId, target: PeerId, event: on.MessageArrived) -> None:
        """A message arrives, if both ends live and are connected."""
        if self.nodes[source].alive and source in self.nodes[target].swarm.site.links:
            self.tell(target, event)

    # --- what nodes decide --------------------------------------------------------------------

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
                self.after(0, lambda: self._lose(name, peer))
                self.after(self.latency_s, lambda: self._lose(peer, name))
            case do.Send(peer, message):
                self.messages += 1
                self.post(name, peer, on.MessageArrived(name, message))
            case do.SendPiece(peer, tag, piece):
                if (exchange := node.swarm.exchanges.get(tag)) is None:
                    # Asked before the blob was dropped: nothing is sent, as by the agent.
                    self.after(0, lambda: self.tell(name, on.UploadEnded(peer, tag, piece)))
                elif not node.mute:
                    self._flow(node.up, _Flow(name, peer, exchange.spec, piece, 1))
            case do.FetchFromRegistry(tag, first, count):
                self._fetch(name, node, node.swarm.exchanges[tag].spec, first, count)
            case do.StopRegistryFetch(tag, first):
                if (flow := self._registry_flows.get((name, tag, first))) is not None:
                    flow.stopped = True
            case do.GiveUp(tag, reason):
                node.gave_up[tag] = reason
                node.held_when_gave_up[tag] = node.swarm.exchanges[tag].held
                self.after(0, lambda: self.tell(name, on.BlobDropped(tag)))  # as the agent does

    def _connect(self, name: PeerId, peer: PeerId) -> None:
        if not self.nodes[peer].alive:
            self.after(self.dial_fails_s, lambda: self.tell(name, on.PeerLost(peer)))
        elif name not in self.nodes[peer].swarm.site.members:
            self.tell(name, on.PeerLost(peer, refused=True))
        elif self.nodes[name].alive:
            for here, there in ((peer, name), (name, peer)):
                if there not in self.nodes[here].swarm.site.links:
                    self.tell(here, on.PeerConnected(there))

    def _lose(self, name: PeerId, peer: PeerId) -> None:
        node = self.nodes[name]
        for (tag, piece), incoming in list(node.incoming.items()):
            if incoming.flow.source == peer:
                del node.incoming[tag, piece]
                self.tell(name, on.PieceSpoiled(tag, piece, peer))
        self.tell(name, on.PeerLost(peer))

    def _fetch(self, name: PeerId, node: Node, spec: BlobSpec, first: int, count: int) -> None:
        node.fetches += 1
        if node.denied or not self.registry_up:
            fault = on.RegistryFault.DENIED if node.denied else on.RegistryFault.FAILED
            ended = on.RegistryEnded(spec.tag, first, fault)
            self.after(2 * self.latency_s, lambda: self.tell(name, ended))
            return
        flow = _Flow(REGISTRY, name, spec, first, count)
        self._registry_flows[name, spec.tag, first] = flow
        self.after(2 * self.latency_s, lambda: self._flow(self.registry, flow))

    # --- bytes on links -----------------------------------------------------------------------

    def _flow(self, link: _Link, flow: _Flow) -> None:
        link.flows.append(flow)
        if not link.busy:
            self._send_block(link)

    def _cut_off(self, flow: _Flow) -> bool:
        """Whether nothing more of this flow can be sent."""
        up = self.registry_up if flow.source == REGISTRY else self.nodes[flow.source].alive
        return flow.stopped or not up or not self.nodes[flow.target].alive

    def _send_block(self, link: _Link) -> None:
        while link.flows and self._cut_off(link.flows[0]):
            self._sent(link.flows.popleft(), whole=False)
        link.busy = bool(link.flows)
        if not link.flows:
            return
        flow = link.flows.popleft()
        piece, at = flow.piece, flow.sent_of_piece
        size = min(BLOCK_BYTES, flow.spec.size(piece) - at)
        flow.sent_of_piece += size
        if flow.source == REGISTRY:
            self.registry_bytes += size
        else:
            self.nodes[flow.source].uploaded_bytes += size
        ends = flow.sent_of_piece == flow.spec.size(piece)
        if ends:
            flow.piece, flow.sent_of_piece = piece + 1, 0
        time_s = size / link.rate_bytes_per_s

        def sent() -> None:
            down = self.nodes[flow.target].down
            start_s = max(self.now_s + self.latency_s, down.free_s)
            down.free_s = start_s + size / down.rate_bytes_per_s
            # The receiver's link holds a sender back, as a full TCP window does.
            held_back_s = max(0.0, down.free_s - self.now_s - self.latency_s - 2 * time_s)
            self.after(
                down.free_s - self.now_s, lambda: self._block_arrived(flow, piece, at == 0, ends)
            )
            if flow.over:
                # An upload is over when it is handed to the network, a fetch when all is here.
                wait_s = down.free_s - self.now_s if flow.source == REGISTRY else 0.0
                self.after(wait_s, lambda: self._sent(flow, whole=True))
            elif held_back_s > 0:
                self.after(held_back_s, lambda: self._flow(link, flow))
            else:
                link.flows.append(flow)
            self._send_block(link)

        self.after(time_s, sent)

    def _sent(self, flow: _Flow, *, whole: bool) -> None:
        """All of a flow was sent, or no more can be."""
        tag = flow.spec.tag
        if flow.source != REGISTRY:
            self.tell(flow.source, on.UploadEnded(flow.target, tag, flow.first))
            return
        self._registry_flows.pop((flow.target, tag, flow.first), None)
        incoming = self.nodes[flow.target].incoming
        half = None if whole else incoming.get((tag, flow.piece))
        if half is not None and half.flow is flow:
            del incoming[tag, flow.piece]
            self.tell(flow.target, on.PieceSpoiled(tag, flow.piece, REGISTRY))
        fault = None if whole or flow.stopped else on.RegistryFault.FAILED
        self.tell(flow.target, on.RegistryEnded(tag, flow.first, fault))

    def _block_arrived(self, flow: _Flow, piece: int, begins: bool, ends: bool) -> None:
        name, tag, source = flow.target, flow.spec.tag, flow.source
        node = self.nodes[name]
        if source != REGISTRY and source not in node.swarm.site.links:
            return
        if begins:
            self._take(name, node, flow, piece)
        incoming = node.incoming.get((tag, piece))
        if incoming is None or incoming.flow is not flow:
            return
        incoming.progress_s = self.now_s
        if not ends:
            self.tell(name, on.PieceProgressed(tag, piece, source))
            return
        del node.incoming[tag, piece]
        if source != REGISTRY and self.nodes[source].lies:
            self.tell(name, on.PieceSpoiled(tag, piece, source, wrong=True))
        else:
            self._stored(name, node, flow.spec, piece, source)

    def _take(self, name: PeerId, node: Node, flow: _Flow, piece: int) -> None:
        """A piece begins to come: write it, or let its bytes go by, as the agent decides it."""
        tag, source = flow.spec.tag, flow.source
        exchange = node.swarm.exchanges.get(tag)
        if exchange is None or exchange.held >> piece & 1:
            return
        if source != REGISTRY:
            neighbour = exchange.neighbours.get(source)
            if neighbour is None or piece not in neighbour.asked:
                return
        present = node.incoming.get((tag, piece))
        if present is not None and self.now_s - present.progress_s <= STALLED_S:
            return
        node.incoming[tag, piece] = _Incoming(flow, self.now_s)
        if present is not None:
            self.tell(name, on.PieceSpoiled(tag, piece, present.flow.source))

    def _stored(self, name: PeerId, node: Node, spec: BlobSpec, piece: int, source: PeerId) -> None:
        if source != REGISTRY:
            sender = self.nodes[source]
            if sender.deceives or piece in sender.wrong.get(spec.tag, {}):
                node.wrong.setdefault(spec.tag, {})[piece] = source
        self.tell(name, self._stored_event(name, spec, piece, source))
        exchange = node.swarm.exchanges.get(spec.tag)
        if exchange is None:
            return
        # The client reads as far as it can.
        if exchange.held & 1:
            _, reach = bitmap.lowest_run(exchange.held, longest=spec.pieces)
            if reach > exchange.reader_piece:
                self.tell(name, on.ReaderMoved(spec.tag, reach))
        if exchange.complete and spec.tag not in node.finished_s:
            self._check(name, node, spec)

    def _stored_event(
        self, name: PeerId, spec: BlobSpec, piece: int, source: PeerId
    ) -> on.PieceStored:
        """Return what node `name` is told of a piece that is here."""
        return on.PieceStored(spec.tag, piece, source)

    def _check(self, name: PeerId, node: Node, spec: BlobSpec) -> None:
        """The whole digest: keep the blob, or nothing of it, and then the client tries again."""
        tag = spec.tag
        if wrong := node.wrong.pop(tag, {}):
            node.passed.setdefault(tag, set()).update(wrong.values())
            node.rejections[tag] = node.rejections.get(tag, 0) + 1
            self.tell(name, on.BlobRejected(tag))
            self.after(RETRY_S, lambda: self.tell(name, on.BlobWanted(spec)))
            return
        node.finished_s[tag] = self.now_s - node.started_s[tag]
        for peer in sorted(node.passed.pop(tag, ())):
            if node.swarm.rejections.blames(peer, tag):
                node.blamed.add(peer)
                self.tell(name, on.PeerLied(peer))
        self.tell(name, on.BlobStored(spec))
