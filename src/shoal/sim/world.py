"""The driver: tells each node's swarm what happened, and does what it decides.

As `shoal.agent.node` does on a node, but in virtual time: the two share the swarm and everything
that it decides, and differ in what carries bytes and messages.
"""

import functools
import operator
from random import Random
from typing import Any

from shoal.core.blob import BlobSpec, BlobTag
from shoal.core.peer import PeerId
from shoal.core.swarm import effects as do
from shoal.core.swarm import events as on
from shoal.core.swarm.events import REGISTRY
from shoal.core.swarm.swarm import Swarm
from shoal.core.wire.messages import Message
from shoal.sim.client import Layer
from shoal.sim.clock import Clock
from shoal.sim.network import Flow, Link, Network
from shoal.sim.node import STALLED_S, Incoming, Node, Place
from shoal.sim.registry import RegistryModel
from shoal.sim.wire import (
    DIAL_ROUND_TRIPS,
    PIECE_FACTOR,
    REGISTRY_ANSWER_BYTES,
    REGISTRY_FACTOR,
    message_bytes,
)

FROM_PEER, ON_LEASE, DIRECT = range(3)  # kinds of flows; DIRECT passes the swarm by
DIAL_FAILS_S = 2.0  # as the agent: until a dial to a dead node fails
# A message on a busy link waits for the block that is being sent: 128 KiB, as on a connection.
QUEUED_BYTES = 128 * 1024
# As the agent's registry client: until a connection could not be made, or stopped bringing bytes.
REGISTRY_CONNECT_S, REGISTRY_SILENT_S = 3.0, 10.0
PULLED_AGAIN_S = 10.0  # as the kubelet: the first pause after a pull that failed
LOST_MESSAGE_S = 0.2  # RFC 6298 says 1 s; Linux waits 200 ms at least before it sends again
BLOCK_LEAST_BYTES, BLOCK_MOST_BYTES = 128 * 1024, 1024 * 1024


class World:
    """Nodes, a registry, and the virtual time between them."""

    def __init__(
        self,
        *,
        registry: RegistryModel,
        rng: Random,
        piece_delay_s: float = 0.0,
        verify_bytes_per_s: float | None = None,
        block_bytes: int = 0,
    ) -> None:
        """Make a world without nodes.

        Args:
            registry: where bytes first come from.
            rng: the source of every random choice but the nodes' own.
            piece_delay_s: from a piece's last byte until it is checked and kept.
            verify_bytes_per_s: how fast a node hashes a whole layer; None for at once.
            block_bytes: sent in one turn; 0 for what suits the piece.
        """
        self.clock = Clock()
        self.registry = registry
        self.nodes: dict[PeerId, Node] = {}
        self.network = Network(self.clock, self, piece_delay_s=piece_delay_s)
        self.unfinished = 0
        self._rng = rng
        self._verify_bytes_per_s = verify_bytes_per_s
        self._block_bytes = block_bytes
        self._fetches: dict[tuple[PeerId, BlobTag, int], Flow] = {}

    # --- nodes come, begin, die ---------------------------------------------------------------

    def add(self, node: Node) -> None:
        """Let `node` be there from the beginning."""
        self.nodes[node.name] = node

    def boot(self, node: Node, first_tick_s: float) -> None:
        """Let a node's agent start: it learns its site's members, and ticks from then on."""
        members = node.place.members if node.view is None else node.view
        self.tell(node, on.MembersChanged(members))
        node.swarm.site.members = members  # one set for all, instead of one for each
        self._tick_at(node, first_tick_s)

    def begin(self, node: Node, _: object = None) -> None:
        """A node's client begins its pull: the first blob that it asks for starts all layers."""
        client = node.client
        if client.started_s is None:
            client.started_s = self.clock.now_s
        for layer in client.layers:
            if layer.whole:
                if layer.done_s is None:  # an empty layer is answered at once
                    layer.done_s = layer.arrived_s = self.clock.now_s
            elif not node.full:
                self.tell(node, on.BlobWanted(layer.spec, layer.held))
        self._tick_in_time(node)
        self._read_on(node)

    def see_all(self, node: Node, _: object = None) -> None:
        """A node that knew only some members of its site knows all from now on."""
        node.view = None
        if node.alive:
            self.tell(node, on.MembersChanged(node.place.members))

    def cut(self, place: Place, _: object = None) -> None:
        """A site loses its way to the registry: what is under way stops, and nothing begins."""
        place.cut = True
        for flow in self._fetches.values():
            flow.stopped |= flow.receiver.place is place  # type: ignore[attr-defined]

    def rejoin(self, place: Place, _: object = None) -> None:
        """It has it again."""
        place.cut = False
        place.shared = self.shared(place)

    def shared(self, place: Place) -> float:
        """Return which part of all that is in the site each of its nodes has at least."""
        nodes = [n for n in self.nodes.values() if n.place is place and n.alive and n.pulls]
        least = 1.0
        for number in range(len(nodes[0].client.layers)):
            held = [node.client.layers[number].held for node in nodes]
            union = functools.reduce(operator.or_, held).bit_count()
            least = min([least, *(each.bit_count() / union for each in held if union)])
        return least

    def kill(self, node: Node) -> None:
        """A node is gone; those connected to it notice after a while."""
        if not node.alive:
            return
        node.alive = False
        if node.pulls and node.client.finished_s is None:
            self._count_down()
        node.incoming.clear()
        now_s = self.clock.now_s
        for peer in sorted(node.swarm.site.links):
            self.clock.at(now_s + node.noticed_after_s, self._lose, self.nodes[peer], node.name)
        if node.back_after_s is not None:
            self.unfinished += 1
            self.clock.at(now_s + node.back_after_s, self._come_back, node)

    def _come_back(self, node: Node, _: object) -> None:
        for peer in sorted(node.swarm.site.links):
            # Whoever has not noticed yet does so now, by the dial of the node that is back.
            self._lose(self.nodes[peer], node.name)
        before = node.swarm
        node.swarm = Swarm(me=node.name, rng=before.requests.rng, policy=before.policy)
        node.alive, node.dies_at_bytes = True, None
        self.boot(node, self.clock.now_s)
        for layer in node.client.layers:
            if layer.whole:
                self.tell(node, on.BlobStored(layer.spec))
            layer.open = False
        self.begin(node)

    def _count_down(self) -> None:
        self.unfinished -= 1
        if not self.unfinished:
            self.clock.stop()

    # --- events in, orders out ----------------------------------------------------------------

    def tell(self, node: Node, event: on.Event) -> None:
        """Let `event` happen at `node`, and carry out what it decides."""
        effects = node.swarm.handle(event, now_s=self.clock.now_s)
        if effects:
            self._carry_out(node, effects)

    def _tell_later(self, node: Node, event: on.Event) -> None:
        if node.alive:
            self.tell(node, event)

    def _carry_out(self, node: Node, effects: list[do.Effect]) -> None:
        letters: list[tuple[Node, Message]] = []
        for effect in effects:
            kind = type(effect)
            if kind is do.Send:
                letters.append((self.nodes[effect.peer], effect.message))  # type: ignore[union-attr]
            elif kind is do.SendPiece:
                self._upload(node, effect.peer, effect.tag, effect.piece)  # type: ignore[union-attr]
            else:
                self._do(node, effect)
        if letters:
            self._post(node, letters)

    def _do(self, node: Node, effect: do.Effect) -> None:
        now_s = self.clock.now_s
        match effect:
            case do.FetchFromRegistry(tag, first, count):
                self._fetch(node, tag, first, count)
            case do.StopRegistryFetch(tag, first):
                if (flow := self._fetches.get((node.name, tag, first))) is not None:
                    flow.stopped = True
            case do.Connect(peer):
                other = self.nodes[peer]
                wait_s = DIAL_ROUND_TRIPS * 2 * self._one_way_s(node, other)
                self.clock.at(now_s + wait_s, self._connect, node, other)
            case do.Disconnect(peer, _):
                other = self.nodes[peer]
                self.clock.at(now_s, self._lose, node, peer)
                self.clock.at(now_s + self._one_way_s(node, other), self._lose, other, node.name)
            case do.GiveUp(tag, reason):
                node.gave_up.append(reason)
                self.clock.at(now_s, self._fall_back, node, tag)

    def _tick_at(self, node: Node, due_s: float) -> None:
        node.tick_due_s = due_s
        self.clock.at(due_s, self._tick, node, due_s)

    def _tick(self, node: Node, due_s: float) -> None:
        if node.alive and node.tick_due_s == due_s:
            self.tell(node, on.Ticked())
            self._tick_at(node, self.clock.now_s + node.swarm.tick_s)

    def _tick_in_time(self, node: Node) -> None:
        if node.tick_due_s - self.clock.now_s <= node.swarm.policy.have_interval_s:
            return  # there is none sooner than that
        due_s = self.clock.now_s + node.swarm.tick_s
        if due_s < node.tick_due_s:
            self._tick_at(node, due_s)

    # --- messages and connections -------------------------------------------------------------

    def _one_way_s(self, one: Node, other: Node) -> float:
        return one.place.one_way_s + one.latency_s + other.latency_s

    def _post(self, node: Node, letters: list[tuple[Node, Message]]) -> None:
        """Send messages, each in a segment of its own, before the next block of a piece."""
        node.messages_out += len(letters)
        now_s = self.clock.now_s
        up = node.up
        wait_s = QUEUED_BYTES / up.bytes_per_s if up.busy else 0.0
        arrive_s = now_s + wait_s + node.place.one_way_s + node.latency_s
        if arrive_s < node.message_out_s:
            arrive_s = node.message_out_s
        node.message_out_s = arrive_s
        for target, message in letters:
            size = message_bytes(message)
            if up.busy:
                up.debt_bytes += size
            down = target.down
            if down.free_s > now_s:
                down.free_s += size / down.bytes_per_s
        if node.place.loss:
            self._post_lossy(node, letters, arrive_s)
        else:
            self.clock.at(arrive_s, self._deliver, node, letters)

    def _post_lossy(self, node: Node, letters: list[tuple[Node, Message]], arrive_s: float) -> None:
        if any(self._rng.random() < node.place.loss for _ in letters):
            arrive_s += LOST_MESSAGE_S
        self.clock.at(arrive_s, self._deliver, node, letters)

    def _deliver(self, source: Node, letters: list[tuple[Node, Message]]) -> None:
        name = source.name
        for target, message in letters:
            if target.alive and name in target.swarm.site.links:
                target.messages_in += 1
                effects = target.swarm.handle(
                    on.MessageArrived(name, message), now_s=self.clock.now_s
                )
                if effects:
                    self._carry_out(target, effects)

    def _connect(self, node: Node, other: Node) -> None:
        if not node.alive:
            return
        if not other.alive or other.place is not node.place:
            self.clock.at(
                self.clock.now_s + DIAL_FAILS_S, self._tell_later, node, on.PeerLost(other.name)
            )
            return
        here = other.name in node.swarm.site.links
        there = node.name in other.swarm.site.links
        if here and there:
            return
        node.handshakes += 1
        other.handshakes += 1
        if there:
            self._lose(other, node.name)
        if here:
            self._lose(node, other.name)
        self.tell(other, on.PeerConnected(node.name))
        self.tell(node, on.PeerConnected(other.name))

    def _lose(self, node: Node, peer: PeerId) -> None:
        if not node.alive or peer not in node.swarm.site.links:
            return
        for (tag, piece), incoming in list(node.incoming.items()):
            sender = incoming.flow.sender
            if isinstance(sender, Node) and sender.name == peer:
                incoming.flow.stopped = True
                del node.incoming[tag, piece]
                self.tell(node, on.PieceSpoiled(tag, piece, peer))
        self.tell(node, on.PeerLost(peer))

    # --- bytes --------------------------------------------------------------------------------

    def _block(self, spec: BlobSpec) -> int:
        if self._block_bytes:
            return self._block_bytes
        return max(BLOCK_LEAST_BYTES, min(BLOCK_MOST_BYTES, spec.piece_bytes // 4))

    def _upload(self, node: Node, peer: PeerId, tag: BlobTag, piece: int) -> None:
        target = self.nodes[peer]
        exchange = node.swarm.exchanges.get(tag)
        if exchange is None or not target.alive:
            # Asked before the blob was dropped, or by a node that is gone: nothing is sent.
            self.clock.at(
                self.clock.now_s, self._tell_later, node, on.UploadEnded(peer, tag, piece)
            )
            return
        self.network.start(
            Flow(
                kind=FROM_PEER,
                spec=exchange.spec,
                first=piece,
                count=1,
                uplink=node.up,
                hops=(target.down,),
                latency_s=self._one_way_s(node, target),
                wire_factor=PIECE_FACTOR,
                block_bytes=self._block(exchange.spec),
                sender=node,
                receiver=target,
                bytes_per_s=node.place.flow_bytes_per_s,
            )
        )

    def _fetch(self, node: Node, tag: BlobTag, first: int, count: int) -> None:
        spec = node.client.by_tag[tag].spec
        flow = self._from_registry(node, spec, first, count, kind=ON_LEASE)
        self._fetches[node.name, tag, first] = flow
        self._ask_registry(flow)

    def _from_registry(
        self, node: Node, spec: BlobSpec, first: int, count: int, *, kind: int
    ) -> Flow:
        uplink = node.place.uplink
        hops: tuple[Link, ...] = (node.down,) if uplink is None else (uplink, node.down)
        return Flow(
            kind=kind,
            spec=spec,
            first=first,
            count=count,
            uplink=self.registry.link,
            hops=hops,
            latency_s=self.registry.one_way_s + node.latency_s,
            wire_factor=REGISTRY_FACTOR,
            block_bytes=self._block(spec),
            sender=None,
            receiver=node,
            bytes_per_s=self.registry.flow_bytes_per_s,
        )

    def _ask_registry(self, flow: Flow) -> None:
        node = flow.receiver
        assert isinstance(node, Node)  # noqa: S101  (receivers always are)
        node.registry_requests += 1
        registry = self.registry
        arrive_s = self.clock.now_s + registry.one_way_s + node.latency_s
        self.clock.at(arrive_s, self._asked_registry, flow)

    def _asked_registry(self, flow: Flow, _: object) -> None:
        registry, node, now_s = self.registry, flow.receiver, self.clock.now_s
        if node.place.cut:  # type: ignore[attr-defined]
            self._registry_lost(flow, after_s=REGISTRY_CONNECT_S)
        elif registry.admit(now_s):
            registry.link.debt_bytes += REGISTRY_ANSWER_BYTES
            self.clock.at(now_s + registry.first_byte_s, self.network.start, flow)
        elif flow.kind == DIRECT:
            self.clock.at(now_s + registry.retry_after_s, self._asked_registry, flow)
        else:
            self._fetches.pop((node.name, flow.spec.tag, flow.first), None)  # type: ignore[attr-defined]
            refused = on.RegistryEnded(
                flow.spec.tag, flow.first, on.RegistryFault.LIMITED, registry.retry_after_s
            )
            self.clock.at(now_s + flow.latency_s, self._tell_later, node, refused)

    def _fall_back(self, node: Node, tag: BlobTag) -> None:
        """The agent gave the blob up: the client goes to the registry itself, for the rest."""
        if not node.alive:
            return
        self.tell(node, on.BlobDropped(tag))
        layer = node.client.by_tag[tag]
        if node.place.cut:  # there is no way for the client either: its pull fails
            self.clock.at(self.clock.now_s + PULLED_AGAIN_S, self._pull_again, node, layer)
        else:
            self._pass_by(node, layer)

    def _pull_again(self, node: Node, layer: Layer) -> None:
        if node.alive and not layer.whole:
            self.tell(node, on.BlobWanted(layer.spec, layer.held))
            self.tell(node, on.ReaderMoved(layer.spec.tag, layer.reach))
            self._tick_in_time(node)

    def _pass_by(self, node: Node, layer: Layer) -> None:
        count = layer.spec.pieces - layer.reach
        if count > 0:
            self._ask_registry(
                self._from_registry(node, layer.spec, layer.reach, count, kind=DIRECT)
            )

    # --- what the network says ----------------------------------------------------------------

    def piece_begins(self, flow: Flow) -> bool:
        """`Owner`: write it, or let its bytes go by, as the agent decides it."""
        node: Any = flow.receiver
        tag, piece, sender = flow.spec.tag, flow.piece, flow.sender
        size = flow.spec.size(piece)
        if sender is None:
            self.registry.count(size, self.clock.now_s)
        else:
            sender.uploaded_bytes += size  # type: ignore[attr-defined]
        if flow.kind == DIRECT:
            return True
        exchange = node.swarm.exchanges.get(tag)
        if exchange is None or exchange.held >> piece & 1:
            return False
        if sender is not None:
            neighbour = exchange.neighbours.get(sender.name)  # type: ignore[attr-defined]
            if neighbour is None or piece not in neighbour.asked:
                return False
        now_s = self.clock.now_s
        key = (tag, piece)
        present = node.incoming.get(key)
        if present is not None and now_s - present.progress_s <= STALLED_S:
            return False
        node.incoming[key] = Incoming(flow, now_s)
        if present is not None:
            other = present.flow.sender
            source = REGISTRY if other is None else other.name
            self.clock.at(now_s, self._tell_later, node, on.PieceSpoiled(tag, piece, source))
        return True

    def piece_progressed(self, flow: Flow, piece: int) -> None:
        """`Owner`: bytes arrived."""
        node: Any = flow.receiver
        incoming = node.incoming.get((flow.spec.tag, piece))
        if incoming is None or incoming.flow is not flow or not node.alive:
            return
        incoming.progress_s = self.clock.now_s
        self.tell(node, on.PieceProgressed(flow.spec.tag, piece, self._source(flow)))

    def _source(self, flow: Flow) -> PeerId:
        sender: Any = flow.sender
        return REGISTRY if sender is None else sender.name

    def piece_arrived(self, flow: Flow, piece: int) -> None:
        """`Owner`: all of a piece arrived."""
        node: Any = flow.receiver
        spec = flow.spec
        if not node.alive:
            return
        size = spec.size(piece)
        if flow.sender is None:
            node.from_registry_bytes += size
        else:
            node.from_peers_bytes += size
        if flow.kind == DIRECT:
            self._keep(node, spec, piece)
        else:
            key = (spec.tag, piece)
            incoming = node.incoming.get(key)
            if incoming is not None and incoming.flow is flow:
                del node.incoming[key]
                source = self._source(flow)
                if flow.sender is not None and source not in node.swarm.site.links:
                    self.tell(node, on.PieceSpoiled(spec.tag, piece, source))
                else:
                    self._stored(node, spec, piece, source)
            else:
                node.wasted_bytes += size
            if flow.sender is None and piece + 1 == flow.end and node.alive:
                self._fetches.pop((node.name, spec.tag, flow.first), None)
                self.tell(node, on.RegistryEnded(spec.tag, flow.first, None))

    def flow_sent(self, flow: Flow) -> None:
        """`Owner`: handed to the network; a fetch is over when all of it is there."""
        sender: Any = flow.sender
        if sender is not None:
            name: PeerId = flow.receiver.name  # type: ignore[attr-defined]
            self.tell(sender, on.UploadEnded(name, flow.spec.tag, flow.first))

    def flow_broke(self, flow: Flow) -> None:
        """`Owner`: nothing more of it comes."""
        sender: Any = flow.sender
        node: Any = flow.receiver
        tag = flow.spec.tag
        if sender is not None:
            ended = on.UploadEnded(node.name, tag, flow.first)
            self.clock.at(self.clock.now_s, self._tell_later, sender, ended)
            return
        self._fetches.pop((node.name, tag, flow.first), None)
        if flow.kind == DIRECT or not node.alive:
            return
        incoming = node.incoming.get((tag, flow.piece))
        if incoming is not None and incoming.flow is flow:
            del node.incoming[tag, flow.piece]
            spoiled = on.PieceSpoiled(tag, flow.piece, REGISTRY)
            self.clock.at(self.clock.now_s, self._tell_later, node, spoiled)
        if node.place.cut:
            self._registry_lost(flow, after_s=REGISTRY_SILENT_S)
            return
        over = on.RegistryEnded(tag, flow.first, None)
        self.clock.at(self.clock.now_s, self._tell_later, node, over)

    def _registry_lost(self, flow: Flow, *, after_s: float) -> None:
        node: Any = flow.receiver
        self._fetches.pop((node.name, flow.spec.tag, flow.first), None)
        failed = on.RegistryEnded(flow.spec.tag, flow.first, on.RegistryFault.FAILED)
        self.clock.at(self.clock.now_s + after_s, self._tell_later, node, failed)

    # --- the store and the client -------------------------------------------------------------

    def _stored(self, node: Node, spec: BlobSpec, piece: int, source: PeerId) -> None:
        self.tell(node, on.PieceStored(spec.tag, piece, source))
        self._keep(node, spec, piece)
        if node.alive:
            self._tick_in_time(node)

    def _keep(self, node: Node, spec: BlobSpec, piece: int) -> None:
        layer = node.client.by_tag[spec.tag]
        node.held_bytes += spec.size(piece)
        further = layer.store(
            piece, now_s=self.clock.now_s, hash_bytes_per_s=self._verify_bytes_per_s
        )
        if node.dies_at_bytes is not None and node.held_bytes >= node.dies_at_bytes:
            node.dies_at_bytes = None
            self.kill(node)
        elif layer.whole:
            if further:
                self.clock.at(layer.hashed_s, self._verified, node, layer)
        elif further and layer.open and not node.full:
            self.tell(node, on.ReaderMoved(spec.tag, layer.reach))

    def _verified(self, node: Node, layer: Layer) -> None:
        if not node.alive or layer.done_s is not None:
            return
        layer.done_s = self.clock.now_s
        if layer.spec.tag in node.swarm.exchanges:
            self.tell(node, on.BlobStored(layer.spec))
        self._read_on(node)

    def _read_on(self, node: Node) -> None:
        for layer in node.client.opens():
            if node.full:
                self._pass_by(node, layer)
            elif layer.reach:
                self.tell(node, on.ReaderMoved(layer.spec.tag, layer.reach))
        if node.client.done and node.client.finished_s is None:
            node.client.finished_s = self.clock.now_s
            self._count_down()
