"""Members of a site for the tests of the network: whole ones, strangers, and impostors."""

import asyncio
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import zip_longest

from shoal.adapters.certificates.peer_credentials import PeerCredentials
from shoal.adapters.peers.network import PeerNetwork
from shoal.core.endpoint import Endpoint
from shoal.core.peer import PeerId
from shoal.core.trust.identity import Reason
from shoal.core.wire.codec import FrameReader, encode
from shoal.core.wire.messages import Block, Message
from unit.adapters.peers.ends import have, until


@dataclass(slots=True)
class Site:
    """Who belongs to it."""

    members: set[PeerId] = field(default_factory=set)

    @property
    def hosts(self) -> set[str]:
        """The addresses of its members."""
        return {Endpoint.parse(member).host for member in self.members}


@dataclass(slots=True)
class End:
    """A network and whoever decides for it, who remembers what it is told."""

    site: Site
    host: str
    credentials: PeerCredentials | None = None
    network: PeerNetwork = field(init=False)
    listener: socket.socket = field(init=False)
    connected: list[PeerId] = field(default_factory=list)
    lost: list[tuple[PeerId, str, bool]] = field(default_factory=list)
    refusals: list[Reason] = field(default_factory=list)
    refused_by: list[PeerId] = field(default_factory=list)
    said: list[tuple[PeerId, Message]] = field(default_factory=list)
    received: bytearray = field(default_factory=bytearray)
    has_room: bool = True
    greets: bool = False  # says to each peer how often it was connected

    def __post_init__(self) -> None:
        self.listener = socket.create_server((self.host, 0), family=_family(self.host))
        self.listener.setblocking(False)
        me = PeerId(str(Endpoint(self.host, self.listener.getsockname()[1])))
        self.site.members.add(me)
        self.network = PeerNetwork(
            me=me,
            owner=self,
            is_member=lambda peer: peer in self.site.members,
            credentials=self.credentials,
            is_member_host=lambda host: host in self.site.hosts,
            count_refusal=self.refusals.append,
        )
        self.network.start([self.listener])

    @property
    def me(self) -> PeerId:
        """Its name."""
        return self.network.me

    def peer_connected(self, peer: PeerId) -> None:
        """Note it."""
        link = self.network.link(peer)
        assert link is not None
        self.connected.append(peer)
        if self.greets:
            link.send(have(len(self.connected)))

    def peer_lost(self, peer: PeerId, reason: str, *, failed: bool, refused: bool = False) -> None:
        """Note it."""
        self.lost.append((peer, reason, failed))
        if refused:
            self.refused_by.append(peer)

    def message_arrived(self, peer: PeerId, message: Message) -> None:
        """Note it."""
        self.said.append((peer, message))

    def block_begins(self, peer: PeerId, block: Block) -> memoryview | None:
        """Give room, if there is any."""
        if not self.has_room:
            return None
        self.received += bytes(block.length)
        return memoryview(self.received)[-block.length :]

    def block_arrived(self, peer: PeerId, block: Block) -> None:
        """Pieces are the links' tests' matter."""

    def standing(self, peer: PeerId) -> int:
        """How many connections to `peer` stand, by what was told."""
        lost = [reason for lost, reason, _ in self.lost if lost == peer]
        told = [reason for reason in lost if not reason.startswith("cannot connect")]
        return self.connected.count(peer) - len(told)


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET


@asynccontextmanager
async def ends(
    *hosts: str, credentials: Sequence[PeerCredentials | None] = ()
) -> AsyncIterator[list[End]]:
    """Start a network for each host, all members of one site; those without credentials in TCP."""
    site = Site()
    made = [End(site, host, shown) for host, shown in zip_longest(hosts, credentials)]
    try:
        yield made
    finally:
        for end in made:
            await end.network.stop()
            assert end.network.links == 0


@asynccontextmanager
async def two_ends() -> AsyncIterator[tuple[End, End]]:
    """Two members of a site that know nothing of each other yet."""
    async with ends("127.0.0.2", "127.0.0.3") as (one, other):
        yield one, other


async def connect(one: End, other: End) -> None:
    """Have `one` dial `other`, and wait until both know."""
    one.network.connect(other.me)
    await until(lambda: bool(one.connected and other.connected))


class Stranger:
    """A bare connection to a member, from an address of one's choice."""

    def __init__(self, end: End, *, host: str = "127.0.0.3") -> None:
        at = Endpoint.parse(end.me)
        self._sock = socket.create_connection((at.host, at.port), source_address=(host, 0))
        self._sock.setblocking(False)
        self._frames = FrameReader()
        self.name = PeerId(str(Endpoint(host, 1)))

    def say(self, *messages: Message | bytes) -> None:
        """Say whatever it likes."""
        for message in messages:
            self._sock.sendall(message if isinstance(message, bytes) else encode(message))

    async def hear(self) -> Message:
        """Return the next message."""
        while (message := self._frames.next()) is None:
            self._frames.feed(await self._read())
        return message

    async def is_dropped(self) -> bool:
        """Wait until the other end closes; return whether it said nothing before."""
        try:
            return await self._read() == b""
        except ConnectionResetError:
            return True

    async def _read(self) -> bytes:
        async with asyncio.timeout(30.0):
            return await asyncio.get_running_loop().sock_recv(self._sock, 65536)

    def close(self) -> None:
        """Go."""
        self._sock.close()


@asynccontextmanager
async def one_end_and_stranger(*, host: str = "127.0.0.3") -> AsyncIterator[tuple[End, Stranger]]:
    async with ends("127.0.0.2") as (end,):
        stranger = Stranger(end, host=host)
        try:
            yield end, stranger
        finally:
            stranger.close()


@asynccontextmanager
async def impostor() -> AsyncIterator[tuple[PeerId, socket.socket]]:
    """Listen as a member that is no agent; give its name and socket."""
    with socket.create_server(("127.0.0.3", 0)) as server:
        server.setblocking(False)
        yield PeerId(str(Endpoint(*server.getsockname()))), server
