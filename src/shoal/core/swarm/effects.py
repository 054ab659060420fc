"""What a node must now do: orders that `Swarm.handle` returns, in the order to carry them out.

The counterpart is `shoal.core.swarm.events`.
"""

from dataclasses import dataclass

from shoal.core.blob import BlobTag
from shoal.core.peer import PeerId
from shoal.core.wire.messages import Message


@dataclass(frozen=True, slots=True)
class Connect:
    """Open a connection; answered by PeerConnected or PeerLost."""

    peer: PeerId


@dataclass(frozen=True, slots=True)
class Disconnect:
    """Close the connection: the peer broke the rules, `reason` says which."""

    peer: PeerId
    reason: str


@dataclass(frozen=True, slots=True)
class Probe:
    """Nothing comes but what `peer` owes: if not even a Ping did, close the connection early."""

    peer: PeerId


@dataclass(frozen=True, slots=True)
class Send:
    """Say `message` to `peer`, which is connected."""

    peer: PeerId
    message: Message


@dataclass(frozen=True, slots=True)
class SendPiece:
    """Send a piece that this node holds; answered by UploadEnded."""

    peer: PeerId
    tag: BlobTag
    piece: int


@dataclass(frozen=True, slots=True)
class FetchFromRegistry:
    """Fetch adjacent pieces by one Range request; answered by PieceStored... and RegistryEnded."""

    tag: BlobTag
    first: int
    count: int


@dataclass(frozen=True, slots=True)
class StopRegistryFetch:
    """The rest of this fetch is no longer needed; answered by RegistryEnded, without a fault."""

    tag: BlobTag
    first: int


@dataclass(frozen=True, slots=True)
class NameSigner:
    """Tell the operator: `signer` vouched for these pieces of the blob, and they were wrong.

    If it is this node, a registry sent it wrong bytes; else it is left out from now on.
    """

    signer: PeerId
    tag: BlobTag
    pieces: int  # bitmap


@dataclass(frozen=True, slots=True)
class GiveUp:
    """The blob cannot be had: fail its readers. Pieces that came stay for a later try."""

    tag: BlobTag
    reason: str


Effect = (
    Connect
    | Disconnect
    | Probe
    | Send
    | SendPiece
    | FetchFromRegistry
    | StopRegistryFetch
    | NameSigner
    | GiveUp
)
