"""What happens to a node's swarm: facts in the past tense, told to `Swarm.handle`.

The counterpart is `shoal.core.swarm.effects`.
"""

from dataclasses import dataclass
from enum import Enum

from shoal.core.blob import BlobSpec, BlobTag
from shoal.core.peer import PeerId
from shoal.core.wire.messages import Message

# Where a piece came from when it was not a peer.
REGISTRY = PeerId("registry")


@dataclass(frozen=True, slots=True)
class MembersChanged:
    """The site's members are now these, this node among them."""

    members: frozenset[PeerId]


@dataclass(frozen=True, slots=True)
class PeerConnected:
    """A connection to `peer` stands; messages may be sent."""

    peer: PeerId


@dataclass(frozen=True, slots=True)
class PeerLost:
    """The connection to `peer` is gone, or could not be made; `failed` is False for an idle one.

    `refused` says that `peer` answered the dial and ended it: it does not know this node, yet.
    """

    peer: PeerId
    failed: bool = True
    refused: bool = False


@dataclass(frozen=True, slots=True)
class MessageArrived:
    """`peer` said `message`."""

    peer: PeerId
    message: Message


@dataclass(frozen=True, slots=True)
class BlobWanted:
    """A client wants the blob, or is about to; `held` are the pieces that a restart left.

    `alone` says that peers are not believed for it: their pieces failed the blob's digest before.
    `unvouched` are those of `held` that nobody vouches for any more: they are not for peers.
    """

    spec: BlobSpec
    held: int = 0
    alone: bool = False
    unvouched: int = 0


@dataclass(frozen=True, slots=True)
class ReaderMoved:
    """The furthest-behind reader of the blob now waits for `piece`."""

    tag: BlobTag
    piece: int


@dataclass(frozen=True, slots=True)
class BlobReleased:
    """No client reads the blob any more."""

    tag: BlobTag


@dataclass(frozen=True, slots=True)
class BlobStored:
    """This node holds the whole blob and has checked its digest."""

    spec: BlobSpec


@dataclass(frozen=True, slots=True)
class BlobDropped:
    """This node no longer holds the blob, nor fetches it."""

    tag: BlobTag


@dataclass(frozen=True, slots=True)
class BlobRejected:
    """The whole blob failed its digest check: nothing of it was kept, and readers were told."""

    tag: BlobTag


@dataclass(frozen=True, slots=True)
class PieceProgressed:
    """Bytes of `piece` arrived from `source`, not all of them yet."""

    tag: BlobTag
    piece: int
    source: PeerId


@dataclass(frozen=True, slots=True)
class PieceStored:
    """`piece` is whole, passed its check, and is in the store.

    `signer` is the member that vouches for `piece_hash`: this node for what it fetched from the
    registry. None where peers have no certificates, and a hash says nothing of who brought it in.
    """

    tag: BlobTag
    piece: int
    source: PeerId
    signer: PeerId | None = None
    piece_hash: bytes = b""


@dataclass(frozen=True, slots=True)
class PieceSpoiled:
    """`piece` from `source` did not become whole; `wrong` if its bytes failed their check."""

    tag: BlobTag
    piece: int
    source: PeerId
    wrong: bool = False


@dataclass(frozen=True, slots=True)
class PieceDisbelieved:
    """`piece` from `source` is not taken, for who vouches for it: `signer`, if it is known.

    That is not `source`'s fault, which may know less.
    """

    tag: BlobTag
    piece: int
    source: PeerId
    signer: PeerId | None
    piece_hash: bytes


class RegistryFault(Enum):
    """Why a fetch from the registry ended early."""

    FAILED = "failed"  # refused, silent, wrong: may work later or from another node
    LIMITED = "limited"  # asked to be asked less (429): nothing is wrong
    DENIED = "denied"  # the registry refuses every credential this node has for the blob


@dataclass(frozen=True, slots=True)
class RegistryEnded:
    """The fetch that began at `first` is over; `fault` is None if every piece of it came."""

    tag: BlobTag
    first: int
    fault: RegistryFault | None = None
    retry_after_s: float = 0.0


@dataclass(frozen=True, slots=True)
class UploadEnded:
    """The piece was handed to the network, or the upload failed."""

    peer: PeerId
    tag: BlobTag
    piece: int


@dataclass(frozen=True, slots=True)
class PeerLied:
    """`peer` sent a piece that turned out not to be the blob's."""

    peer: PeerId


@dataclass(frozen=True, slots=True)
class Ticked:
    """Time passed; the driver sends one every `Swarm.tick_s`."""


@dataclass(frozen=True, slots=True)
class UploadsLimited:
    """What this node sends has a rate now, to be shared evenly by blobs; or has none any more."""

    limited: bool


Event = (
    MembersChanged
    | PeerConnected
    | PeerLost
    | MessageArrived
    | BlobWanted
    | ReaderMoved
    | BlobReleased
    | BlobStored
    | BlobDropped
    | BlobRejected
    | PieceProgressed
    | PieceStored
    | PieceSpoiled
    | PieceDisbelieved
    | RegistryEnded
    | UploadEnded
    | UploadsLimited
    | PeerLied
    | Ticked
)
