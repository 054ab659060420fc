"""All connections to peers: listening, dialing, who is who, and who has fallen silent."""

import asyncio
import logging
import socket
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Protocol

from shoal.adapters.peers.arrivals import Arrivals
from shoal.adapters.peers.dialing import CONNECT_TIMEOUT_S, dial
from shoal.adapters.peers.gate import UploadPace
from shoal.adapters.peers.handshake import Credentials, HungUp
from shoal.adapters.peers.link import Link
from shoal.adapters.peers.listening import Listening
from shoal.adapters.peers.rechecking import recheck
from shoal.adapters.peers.refusal_journal import RefusalJournal
from shoal.adapters.peers.stream import PlainStream, Stream
from shoal.core.endpoint import Endpoint
from shoal.core.errors import PeerFault
from shoal.core.peer import PeerId
from shoal.core.trust.identity import Reason, Refused
from shoal.core.wire.messages import HASH_ALONE, Allow, Block, Hello, Message, Ping

_log = logging.getLogger("shoal.adapters.peers")

HELLO_TIMEOUT_S = 3.0
PING_AFTER_S = 0.75  # of saying nothing, looked at four times as often
SILENT_AFTER_S = 4.0  # of hearing nothing: a peer that lives says Ping about once a second
OWING_AFTER_S = 1.4  # the same of a peer on which alone something waits: one Ping and its delay
LINKS_MOST = 1024
KEPT_SHARE = 8  # of these, one in so many
NO_HELLO = "no Hello"


class Owner(Protocol):
    """What the network tells whoever decides. Called on the event loop; must not block."""

    def peer_connected(self, peer: PeerId) -> None:
        """Messages to `peer` may be sent."""
        ...

    def peer_lost(self, peer: PeerId, reason: str, *, failed: bool, refused: bool = False) -> None:
        """The connection is gone or could not be made; `failed` is False for a planned end.

        `refused` where the peer ended it without a word: it does not know this node.
        """
        ...

    def message_arrived(self, peer: PeerId, message: Message) -> None:
        """`peer` said `message`."""
        ...

    def block_begins(self, peer: PeerId, block: Block) -> memoryview | None:
        """As `Handler.block_begins`."""
        ...

    def block_arrived(self, peer: PeerId, block: Block) -> None:
        """As `Handler.block_arrived`."""
        ...


class PeerNetwork:
    """This node's connections to its peers."""

    def __init__(
        self,
        *,
        me: PeerId,
        owner: Owner,
        is_member: Callable[[PeerId], bool],
        upload: UploadPace | None = None,
        protocol: int = HASH_ALONE,
        credentials: Credentials | None = None,
        is_member_host: Callable[[str], bool] = lambda _: True,
        count_refusal: Callable[[Reason], None] = lambda _: None,
    ) -> None:
        """Prepare; `start` begins to accept.

        Args:
            me: this node's name, the address that its peers dial.
            owner: whoever decides.
            is_member: whether a name belongs to the site; others are refused.
            upload: what all pieces that are sent are kept to, when it has a rate.
            protocol: by which rules its pieces are believed; peers follow the same, or are refused.
            credentials: what this node shows its peers; None: peers speak plain TCP.
            is_member_host: whether a member has this address; a handshake with any other costs
                processor time for nothing, so it is not begun.
            count_refusal: told of each peer that was refused for what it showed, or refused this
                node for it.
        """
        self.me = me
        self._owner = owner
        self._is_member = is_member
        self._upload = upload
        self._protocol = protocol
        self._links_most = LINKS_MOST
        self._listening = Listening(self._accepted)
        self._links: dict[PeerId, Link] = {}
        self._greeting: dict[Link, PeerId | None] = {}  # value: the peer that was dialed
        self._dials: dict[PeerId, asyncio.Task[None]] = {}
        self._credentials = credentials
        self._is_member_host = is_member_host
        self._journal = RefusalJournal(clock_s=asyncio.get_running_loop().time, count=count_refusal)
        # Members that one end refused: they are dialed when this node has other credentials.
        self._refused_dials: set[PeerId] = set()
        self._arrivals: Arrivals | None = None
        if credentials is not None:
            self._arrivals = Arrivals(
                credentials, arrived=self._arrived, refused=self._journal.refused
            )
        self._watch: asyncio.TimerHandle | None = None
        self._stopped = False
        self.refused = 0

    @property
    def links(self) -> int:
        """How many peers are connected."""
        return len(self._links)

    def start(self, listeners: Sequence[socket.socket]) -> None:
        """Accept peers on these listening sockets, which the network closes in the end."""
        self._listening.start(listeners)
        self._watch = asyncio.get_running_loop().call_later(PING_AFTER_S / 4, self._look_around)

    async def stop(self) -> None:
        """Close every connection and stop listening."""
        self._stopped = True
        if self._watch is not None:
            self._watch.cancel()
        self._listening.close()
        if self._arrivals is not None:
            await self._arrivals.stop()
        dials = list(self._dials.values())
        for task in dials:
            task.cancel()
        if dials:
            await asyncio.wait(dials, timeout=CONNECT_TIMEOUT_S)
        for link in [*self._links.values(), *self._greeting]:
            link.close("this node stops")

    def limit_links(self, most: int) -> None:
        """Have so many connections at once from now on; none is cut for it."""
        self._links_most = most

    def limit_uploads(self) -> None:
        """What is sent has a rate now, or another one."""
        for link in [*self._links.values(), *self._greeting]:
            self._gate(link)

    def _gate(self, link: Link) -> None:
        if self._upload is not None and self._upload.rate_bytes_per_s is not None:
            link.gated_by(self._upload)

    # --- connecting ---------------------------------------------------------------------------

    def _accepted(self, sock: socket.socket, host: str) -> None:
        # Some are kept for peers that this node wants. Who is refused sees it end without a word,
        # which is no fault of this node's to him.
        kept = self._links_most // KEPT_SHARE
        if self._arriving + len(self._links) >= self._links_most - kept:
            self.refused += 1
            sock.close()
            return
        if self._arrivals is None:
            self._arrived(PlainStream(sock), host)
        elif self._is_member_host(host):
            self._arrivals.begin(sock, host)
        else:
            sock.close()
            self._journal.refused(
                host,
                Refused(Reason.NOT_THE_MEMBER, "no member of this site has this address"),
                is_expected=True,
            )

    def _arrived(self, stream: Stream, host: str) -> None:
        self._greet(Link(stream, self, initiator=False, remote_host=host), None)

    @property
    def _arriving(self) -> int:
        """How many connections do not belong to a peer yet."""
        return len(self._greeting) + (len(self._arrivals) if self._arrivals is not None else 0)

    def connect(self, peer: PeerId) -> None:
        """Dial `peer`; the owner hears `peer_connected` or `peer_lost`."""
        if peer in self._dials or self._stopped:
            return
        if len(self._links) + self._arriving + len(self._dials) >= self._links_most:
            self._owner.peer_lost(
                peer, f"{self._links_most} connections are open already", failed=True, refused=True
            )
            return
        task = asyncio.get_running_loop().create_task(self._dial(peer), name=f"dial {peer}")
        self._dials[peer] = task  # held here until done
        task.add_done_callback(lambda _: self._dials.pop(peer, None))

    async def _dial(self, peer: PeerId) -> None:
        host = Endpoint.parse(peer).host
        try:
            stream = await dial(peer, me=self.me, credentials=self._credentials)
        except Refused as refused:
            self._journal.refused(host, refused, peer=peer)
            self._not_reached(peer, str(refused))
            self._note_refusal(peer)
        except PeerFault as fault:
            self._not_reached(peer, str(fault), refused=isinstance(fault, HungUp))
        else:
            self._greet(Link(stream, self, initiator=True, remote_host=host), peer)

    def _not_reached(self, peer: PeerId, reason: str, *, refused: bool = False) -> None:
        if peer not in self._links:
            self._owner.peer_lost(peer, reason, failed=True, refused=refused)

    def _greet(self, link: Link, dialed: PeerId | None) -> None:
        # Who dialed speaks first and is answered only when it is taken: so neither end believes
        # in a connection that the other has refused.
        self._greeting[link] = dialed
        self._gate(link)
        if dialed is not None:
            link.send(Hello(self.me, self._protocol))

    def _hello_arrived(self, link: Link, hello: Hello) -> None:
        dialed = self._greeting[link]
        if hello.protocol != self._protocol:
            link.close(
                f"speaks protocol {hello.protocol}, this node speaks {self._protocol}: pieces go "
                f"with receipts by 2 and with their hash alone by 1"
            )
        elif dialed is not None and hello.peer != dialed:
            link.close(f"{dialed} answers as {hello.peer}")
        elif not self._is_member(hello.peer) or hello.peer == self.me:
            link.close(f"{hello.peer} is not a member of this site")
        elif (refused := _not_its_certificate(link, hello.peer)) is not None:
            link.refuse(refused)
        elif Endpoint.parse(hello.peer).host != link.remote_host:
            link.close(f"calls itself {hello.peer} but comes from {link.remote_host}")
        else:
            self._adopt(link, hello.peer)

    def _adopt(self, link: Link, peer: PeerId) -> None:
        present = self._links.get(peer)
        if present is not None:
            # Both dialed each other: the connection of the smaller name stays, on both ends.
            if self._initiator(present, peer) < self._initiator(link, peer):
                link.close("a connection to this peer stands already")
                return
            present.peer = None
            present.close("replaced by a newer connection")
            self._owner.peer_lost(peer, "replaced by a newer connection", failed=False)
        del self._greeting[link]
        link.peer = peer
        self._links[peer] = link
        if not link.initiator:
            link.send(Hello(self.me, self._protocol))
        self._owner.peer_connected(peer)

    def _initiator(self, link: Link, peer: PeerId) -> PeerId:
        return self.me if link.initiator else peer

    # --- what links tell ----------------------------------------------------------------------

    def message_arrived(self, link: Link, message: Message) -> None:
        """`Handler`: a message came."""
        if link.peer is not None:
            if isinstance(message, Allow):
                link.gated_by(self._upload).allow(message.more_bytes)
            elif not isinstance(message, Ping):
                self._owner.message_arrived(link.peer, message)
        elif isinstance(message, Hello) and link in self._greeting:
            self._hello_arrived(link, message)
        else:
            link.close("spoke before its Hello")

    def block_begins(self, link: Link, block: Block) -> memoryview | None:
        """`Handler`: a block begins."""
        if link.peer is None:
            link.close("sent a piece before its Hello")
            return None
        return self._owner.block_begins(link.peer, block)

    def block_arrived(self, link: Link, block: Block) -> None:
        """`Handler`: a block is whole."""
        if link.peer is not None:
            self._owner.block_arrived(link.peer, block)

    def link_lost(self, link: Link, reason: str) -> None:
        """`Handler`: the connection is gone."""
        if link in self._greeting:
            dialed = self._greeting.pop(link)
            refused = not link.received_bytes and reason != NO_HELLO and link.refusal is None
            if refused and dialed is not None:
                reason += self._why_me()
            if link.refusal is not None:
                self._journal.refused(link.remote_host, link.refusal, peer=dialed)
            elif not self._stopped:
                _log.info("peer_refused", extra={"host": link.remote_host, "reason": reason})
            if dialed is not None:
                self._not_reached(dialed, reason, refused=refused)
                if link.refusal is not None:
                    self._note_refusal(dialed)
        elif link.peer is not None and self._links.get(link.peer) is link:
            del self._links[link.peer]
            failed = not self._stopped
            if link.refusal is not None:
                self._journal.refused(link.remote_host, link.refusal, peer=link.peer)
                # It most likely has a new one, and only the connection is as old as the other.
                failed = link.refusal.reason is not Reason.EXPIRED
            self._owner.peer_lost(link.peer, reason, failed=failed)

    def _why_me(self) -> str:
        """Return what this node knows of why a peer may refuse it; that peer has not said."""
        if self._credentials is not None:
            try:
                self._credentials.identity.require_member(self.me)
            except Refused as own:
                return f"; {own}"
        return ""

    # --- certificates -------------------------------------------------------------------------

    def credentials_changed(self) -> None:
        """This node has others now: close connections that would not be made any more.

        The others stay as they are, and who was refused before, or refused this node, is dialed.
        """
        if self._credentials is not None and not self._stopped:
            links = [(link, peer) for peer, link in self._links.items()]
            recheck([*links, *self._greeting.items()], self._credentials)
        refused_dials, self._refused_dials = self._refused_dials, set()
        for peer in sorted(refused_dials):
            if self._is_member(peer) and peer not in self._links:
                self.connect(peer)

    def _note_refusal(self, peer: PeerId) -> None:
        if len(self._refused_dials) < self._links_most:
            self._refused_dials.add(peer)

    # --- what the owner asks for --------------------------------------------------------------

    def peers(self) -> list[PeerId]:
        """Return the peers that a connection stands with."""
        return list(self._links)

    def link(self, peer: PeerId) -> Link | None:
        """Return the connection to `peer`, if it stands."""
        return self._links.get(peer)

    def disconnect(self, peer: PeerId, reason: str) -> None:
        """Close the connection to `peer`."""
        if (link := self._links.get(peer)) is not None:
            link.close(reason)

    def probe(self, peer: PeerId) -> None:
        """Close the connection to `peer`, on which something waits, if nothing was heard of it."""
        link = self._links.get(peer)
        if link is None or link.paused:
            return
        silent_s = asyncio.get_running_loop().time() - link.heard_s
        if silent_s > OWING_AFTER_S:
            link.close(f"silent for {silent_s:.1f} s while a blob waits for it")

    def resume_reading(self) -> None:
        """There is room for blocks again."""
        for link in list(self._links.values()):
            link.resume_reading()

    def _look_around(self) -> None:
        loop = asyncio.get_running_loop()
        now_s, unix_s = loop.time(), datetime.now(UTC).timestamp()
        for link in list(self._links.values()):
            identity = link.stream.identity
            if identity is not None and unix_s > identity.not_after_s:
                link.refuse(Refused(Reason.EXPIRED, f"the certificate of {identity} has expired"))
            elif not link.paused and now_s - link.heard_s > SILENT_AFTER_S:
                link.close(f"silent for {now_s - link.heard_s:.1f} s")
            elif now_s - link.spoke_s > PING_AFTER_S and not link.waiting:
                link.send(Ping())
        for link in list(self._greeting):
            # Nothing but a Hello is said meanwhile, so this is when the greeting began; what was
            # heard says nothing, for a stranger may drip.
            if now_s - link.spoke_s > HELLO_TIMEOUT_S:
                link.close(NO_HELLO)
        with suppress(RuntimeError):
            self._watch = loop.call_later(PING_AFTER_S / 4, self._look_around)


def _not_its_certificate(link: Link, peer: PeerId) -> Refused | None:
    if link.stream.identity is not None:
        try:
            link.stream.identity.require_member(peer)
        except Refused as refused:
            return refused
    return None
