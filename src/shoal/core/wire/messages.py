"""What peers say to each other.

Two conversations share a connection. Neighbours exchange pieces of blobs that both want or have:
`Join`, `Have`, `Request`, `Cancel`, `Busy`, `Block`, `Allow`, `Leave`. A node and a blob's tracker
arrange introductions and leases: `Announce`, `Introduce`, `LeaseWanted`, `LeaseGranted`,
`LeaseNone`, `LeaseProgress`, `LeaseEnded`, `Suspects`. In a large site a node announces to deputies
of the tracker too, and one of them says `Delegate` to who is to ask for leases. `Hello` opens a
connection and `Ping` keeps silence from meaning anything. Between nodes with certificates a
`Receipt` goes before each piece, and a `SignerCertificate` before the first receipt of its holder.
"""

from dataclasses import dataclass
from enum import IntEnum

from shoal.core.blob import BlobSpec, BlobTag
from shoal.core.peer import PeerId
from shoal.core.receipts.receipt import Receipt

# What a Hello names: by which rules pieces are believed. Nodes of one site follow the same.
HASH_ALONE = 1  # a piece has the hash that its sender says: between peers without certificates
WITH_RECEIPTS = 2  # a piece has the hash that somebody signed for


@dataclass(frozen=True, slots=True)
class Hello:
    """First frame each way: who speaks, and which protocol."""

    peer: PeerId
    protocol: int = HASH_ALONE


@dataclass(frozen=True, slots=True)
class Ping:
    """Says only that the sender lives."""


@dataclass(frozen=True, slots=True)
class Join:
    """To a neighbour: let us exchange pieces of this blob; `held` are those I have."""

    spec: BlobSpec
    held: int


@dataclass(frozen=True, slots=True)
class Have:
    """To a neighbour: I now have these pieces too."""

    tag: BlobTag
    pieces: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Request:
    """To a neighbour: send me this piece when it is my turn."""

    tag: BlobTag
    piece: int


@dataclass(frozen=True, slots=True)
class Cancel:
    """To a neighbour: I no longer need this piece, unless its bytes are on their way."""

    tag: BlobTag
    piece: int


@dataclass(frozen=True, slots=True)
class Busy:
    """To a neighbour: I will not send this piece; ask another, or me later."""

    tag: BlobTag
    piece: int


@dataclass(frozen=True, slots=True)
class Leave:
    """To a neighbour or tracker: I neither want nor have this blob any more."""

    tag: BlobTag


@dataclass(frozen=True, slots=True)
class Block:
    """Head of a stretch of a piece; `length` raw bytes follow it on the connection.

    `piece_hash` is the BLAKE3 hash of the whole piece, by which the receiver checks it before it
    stores, uses or passes it on.
    """

    tag: BlobTag
    piece: int
    offset: int  # from the piece's start, bytes
    length: int  # bytes that follow
    piece_hash: bytes


@dataclass(frozen=True, slots=True)
class Allow:
    """To whoever sends pieces: send so many bytes more, and from now on only what is allowed.

    `more_bytes` None lifts the limit. A peer that was never told anything has none.
    """

    more_bytes: int | None


@dataclass(frozen=True, slots=True)
class Announce:
    """To the tracker: I want (or hold whole) this blob, have these pieces, seek this many peers.

    `takeover` says that an earlier tracker knew this blob, so others will announce shortly too.
    `to_deputy` says that the receiver is to introduce, as a deputy, and to lease nothing.
    """

    spec: BlobSpec
    held: int
    wants: bool
    peers_sought: int
    takeover: bool = False
    to_deputy: bool = False


@dataclass(frozen=True, slots=True)
class Introduce:
    """From the tracker: these peers want or have the blob."""

    tag: BlobTag
    peers: tuple[PeerId, ...]


@dataclass(frozen=True, slots=True)
class Delegate:
    """From a deputy: ask the blob's tracker for leases, for all who announce to me."""

    tag: BlobTag


@dataclass(frozen=True, slots=True)
class LeaseWanted:
    """To the tracker: I have a free hand to fetch from the registry what no peer has.

    `stuck_piece` names a piece that the sender waits for in vain, or -1. A deputy is told that too.
    """

    tag: BlobTag
    stuck_piece: int = -1


@dataclass(frozen=True, slots=True)
class LeaseGranted:
    """From the tracker: fetch these adjacent pieces from the registry; nobody else will."""

    tag: BlobTag
    first: int
    count: int


@dataclass(frozen=True, slots=True)
class LeaseNone:
    """From the tracker: every piece is leased or held by a peer."""

    tag: BlobTag


@dataclass(frozen=True, slots=True)
class LeaseProgress:
    """To the tracker: bytes of this lease arrive; its first `done` pieces are whole."""

    tag: BlobTag
    first: int
    done: int


class LeaseOutcome(IntEnum):
    """How a lease ended."""

    DONE = 0
    FAILED = 1  # the registry did not give it: another node may try, after `retry_after_s`
    DENIED = 2  # the registry refuses this node's credential: never lease this blob to it again
    DECLINED = 3  # the node needs no lease any more


@dataclass(frozen=True, slots=True)
class LeaseEnded:
    """To the tracker: the lease that began at `first` is over; `done` pieces from it are whole."""

    tag: BlobTag
    first: int
    done: int
    outcome: LeaseOutcome
    retry_after_s: float = 0.0


@dataclass(frozen=True, slots=True)
class SignerCertificate:
    """To a neighbour, once: receipts that I send are signed by the holder of this certificate."""

    der: bytes


@dataclass(frozen=True, slots=True)
class Suspects:
    """To the tracker: of these pieces (bitmaps) I do not believe those who vouch for them.

    Since the whole blob was wrong with them, most likely. The tracker leases them to others.
    """

    tag: BlobTag
    brought: tuple[tuple[PeerId, int], ...]


Message = (
    Hello
    | Ping
    | Join
    | Have
    | Request
    | Cancel
    | Busy
    | Leave
    | Block
    | Allow
    | Announce
    | Introduce
    | LeaseWanted
    | LeaseGranted
    | LeaseNone
    | LeaseProgress
    | LeaseEnded
    | SignerCertificate
    | Receipt
    | Suspects
    | Delegate
)
