"""Blobs that a client may have read wrong bytes of, and therefore asks for again.

Wrong bytes that a registry sent, or an insider signed, are found when the blob is whole, and cost
the client that has read them its attempt. The next attempt has to succeed, so whoever asks for the
first byte of such a blob again gets none before the whole digest holds: either all of them are
right, or the client is told to ask the registry. One that goes on where it was is not held up,
unless the blob was found to be wrong: what it has is lost then, and the sooner it is told the
better, so it is sent to the registry for the rest.
"""

from shoal.agent.transfer import Transfer
from shoal.core.blob import MIB, BlobTag

DOUBTED_MOST = 256  # blobs that were read and never verified, remembered until they are
# A blob up to this size takes seconds to be fetched anew. A longer one is streamed again, since a
# client that gets no byte for minutes gives up.
WITHHELD_MOST_BYTES = 64 * MIB
# Then it asks the registry, as it does where a blob does not move (`FrontLimits.progress_s`).
WITHHELD_MOST_S = 8.0


class Doubts:
    """Remembers which blobs were read, and ended or were left, before they were verified."""

    def __init__(self) -> None:
        self._doubted: dict[BlobTag, bool] = {}  # whether it was found to be wrong

    def of(self, transfer: Transfer) -> bool:
        """Whether somebody who asks for the first byte of this blob now may have failed with it.

        What a restart left counts as read: nobody knows.
        """
        tag = transfer.spec.tag
        if transfer.verified or transfer.spec.length_bytes > WITHHELD_MOST_BYTES:
            return False
        if transfer.sources.cached_bytes or (transfer.was_read and not transfer.readers):
            self._add(tag)
        return tag in self._doubted

    def doubts(self, tag: BlobTag) -> bool:
        """Whether some of this blob was read, and nobody has verified it since."""
        return tag in self._doubted

    def passed_on(self, tag: BlobTag) -> None:
        """A client was sent some of the registry's bytes, and not all, or they were wrong."""
        self._add(tag)

    def found_wrong(self, tag: BlobTag) -> bool:
        """Whether this blob was wrong, so that a client may have read some of it, and is still."""
        return self._doubted.get(tag, False)

    def ended(self, transfer: Transfer) -> None:
        """The blob arrives no more: it is whole, or was given up or found to be wrong."""
        tag = transfer.spec.tag
        if transfer.verified:
            self._doubted.pop(tag, None)
        elif transfer.was_read or transfer.wrong:
            # Where a registry lies, the next bytes may be as wrong as the last.
            self._add(tag, wrong=transfer.wrong)

    def _add(self, tag: BlobTag, *, wrong: bool = False) -> None:
        self._doubted[tag] = self._doubted.pop(tag, False) or wrong
        if len(self._doubted) > DOUBTED_MOST:
            del self._doubted[next(iter(self._doubted))]
