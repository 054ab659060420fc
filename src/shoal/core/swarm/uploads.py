"""Whom to serve next: few pieces at once, turns taken by peer."""

from collections import Counter, deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from shoal.core.blob import BlobTag
from shoal.core.peer import PeerId
from shoal.core.swarm.events import UploadsLimited
from shoal.core.swarm.policy import Policy

if TYPE_CHECKING:
    from collections.abc import Callable


# Blobs take turns among the requests that wait, so that as many more may while they do.
ROOM_BY_BLOB = 4


@dataclass(slots=True)
class Uploads:
    """Requests that peers made, and those being served.

    Few at once, because a piece that is half sent helps nobody: three pieces sent one after the
    other can be passed on sooner than three sent side by side.
    """

    policy: Policy
    queues: dict[PeerId, deque[tuple[BlobTag, int]]] = field(default_factory=dict)
    sending: set[tuple[PeerId, BlobTag, int]] = field(default_factory=set)
    queued: int = 0
    by_blob: bool = False  # blobs take turns before peers do: while there is a rate to share

    def limited(self, event: UploadsLimited) -> None:
        """There is a rate to share by blobs now, or none any more."""
        self.by_blob = event.limited

    def ask(
        self,
        peer: PeerId,
        tag: BlobTag,
        piece: int,
        pace: "Callable[[PeerId], float]" = lambda _: 0.0,
    ) -> tuple[PeerId, BlobTag, int] | None:
        """Queue a request; return the one that is refused for want of room, this or another.

        A full queue makes room for a peer that is slower than one in it: who fell behind would be
        refused most often, and stay behind.

        Args:
            peer: who asks.
            tag: for which blob.
            piece: for which piece of it.
            pace: as for `next`.
        """
        queue = self.queues.get(peer)
        if queue is not None and (tag, piece) in queue:
            return None
        refused = None
        if self.queued >= self.policy.requests_queued_most * (ROOM_BY_BLOB if self.by_blob else 1):
            fastest = max(self.queues, key=pace, default=peer)
            if pace(fastest) <= pace(peer):
                return peer, tag, piece
            refused = fastest, *self.queues[fastest][-1]
            self.cancel(*refused)
        self.queues.setdefault(peer, deque()).append((tag, piece))
        self.queued += 1
        return refused

    def cancel(self, peer: PeerId, tag: BlobTag, piece: int) -> None:
        """Forget a request that has not begun to be served."""
        queue = self.queues.get(peer)
        if queue is not None and (tag, piece) in queue:
            queue.remove((tag, piece))
            self.queued -= 1
            if not queue:
                del self.queues[peer]

    def lost(self, peer: PeerId) -> None:
        """The peer is gone, and its requests with it."""
        queue = self.queues.pop(peer, None)
        if queue is not None:
            self.queued -= len(queue)
        self.sending = {upload for upload in self.sending if upload[0] != peer}

    def dropped(self, tag: BlobTag) -> None:
        """The blob is here no more: forget the requests for it that have not begun."""
        for peer, queue in list(self.queues.items()):
            kept = deque(request for request in queue if request[0] != tag)
            self.queued -= len(queue) - len(kept)
            if kept:
                self.queues[peer] = kept
            else:
                del self.queues[peer]

    def ended(self, peer: PeerId, tag: BlobTag, piece: int) -> None:
        """An upload is over; its slot is free."""
        self.sending.discard((peer, tag, piece))

    def next(
        self, pace: "Callable[[PeerId], float]" = lambda _: 0.0
    ) -> tuple[PeerId, BlobTag, int] | None:
        """Return the next upload to begin, or None while no slot or no request is there.

        Args:
            pace: how fast a peer has gained of what this node exchanges. The slowest comes first:
                in a rollout those who fell behind at its beginning would never catch up.
        """
        if len(self.sending) >= self.policy.uploads_at_once or not self.queues:
            return None
        # Insertion order is the order of turns: who was served goes to the end. A peer that is
        # being served waits while another has nothing, so that no link is left idle.
        busy = {upload[0] for upload in self.sending}
        if self.by_blob:
            peer, at = self._fairest(busy)
        else:
            waiting = [p for p in self.queues if p not in busy]
            peer = min(waiting, key=pace) if waiting else next(iter(self.queues))
            at = 0
        queue = self.queues.pop(peer)
        tag, piece = queue[at]
        del queue[at]
        self.queued -= 1
        if queue:
            self.queues[peer] = queue
        self.sending.add((peer, tag, piece))
        return peer, tag, piece

    def _fairest(self, busy: set[PeerId]) -> tuple[PeerId, int]:
        """Return whose request, and which of his, is for the blob that has the fewest slots."""
        sending = Counter(upload[1] for upload in self.sending)
        slots: dict[tuple[PeerId, int], tuple[int, bool]] = {}
        for peer, queue in self.queues.items():
            for at, (tag, _) in enumerate(queue):
                slots[peer, at] = sending[tag], peer in busy
        return min(slots, key=lambda request: slots[request])

    def check(self) -> None:
        """Assert the invariants; tests call this after every event."""
        assert self.queued == sum(map(len, self.queues.values()))
        assert all(self.queues.values()), "an empty queue is removed"
        assert len(self.sending) <= self.policy.uploads_at_once
