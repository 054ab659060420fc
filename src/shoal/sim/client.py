"""The client of a node: reads the image's layers in order, some at a time, as containerd does."""

from dataclasses import dataclass, field

from shoal.core import bitmap
from shoal.core.blob import BlobSpec


@dataclass(slots=True)
class Layer:
    """One layer on one node."""

    spec: BlobSpec
    held: int = 0  # bitmap of the pieces that are here
    reach: int = 0  # pieces from the beginning on, without a gap
    hashed_s: float = 0.0  # when all up to `reach` has been hashed
    arrived_s: float | None = None  # its last piece
    done_s: float | None = None  # checked whole
    open: bool = False  # a client reads it

    def store(self, piece: int, *, now_s: float, hash_bytes_per_s: float | None) -> bool:
        """A piece is here; return whether a reader may have more than before."""
        self.held |= 1 << piece
        if piece != self.reach:
            return False
        before = self.reach
        here = self.held >> before
        self.reach = before + (~here & (here + 1)).bit_length() - 1
        start_s = max(self.hashed_s, now_s)
        if hash_bytes_per_s:
            end = min(self.spec.offset(self.reach), self.spec.length_bytes)
            start_s += (end - self.spec.offset(before)) / hash_bytes_per_s
        self.hashed_s = start_s
        if self.whole:
            self.arrived_s = now_s
        return True

    @property
    def whole(self) -> bool:
        """Every piece is here."""
        return self.reach == self.spec.pieces

    def hold_all(self) -> None:
        """The node has had the layer all along."""
        self.held, self.reach = bitmap.full(self.spec.pieces), self.spec.pieces
        self.arrived_s = self.done_s = 0.0


@dataclass(slots=True)
class Client:
    """What a node's client wants, reads and has."""

    layers: list[Layer]
    at_once: int
    started_s: float | None = None
    finished_s: float | None = None
    by_tag: dict[bytes, Layer] = field(init=False)

    def __post_init__(self) -> None:
        self.by_tag = {layer.spec.tag: layer for layer in self.layers}

    def opens(self) -> list[Layer]:
        """Open the next layers that there are hands for; return them."""
        opened: list[Layer] = []
        reading = sum(layer.open and layer.done_s is None for layer in self.layers)
        for layer in self.layers:
            if reading >= self.at_once:
                break
            if layer.open or layer.done_s is not None:
                continue
            layer.open = True
            reading += 1
            opened.append(layer)
        return opened

    @property
    def done(self) -> bool:
        """Every layer is here and checked."""
        return all(layer.done_s is not None for layer in self.layers)

    @property
    def arrived_s(self) -> float:
        """When the last byte came."""
        return max((layer.arrived_s or 0.0 for layer in self.layers), default=0.0)
