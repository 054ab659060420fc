"""What each tag meant when the registry last said so: served, marked, while it cannot be reached.

Never across repositories or credentials: the record belongs to the one who asked. Whether it may
still be read is decided by core/trust/access.py, not here.
"""

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass

from shoal.core.digest import Digest
from shoal.core.trust.access import Facts, Holder

# A node runs some hundred images, of which each has a tag or two.
MAX_TAGS = 1_024


@dataclass(frozen=True, slots=True)
class TagRecord:
    """The manifest that a tag named at `seen_s`, a monotonic time in seconds."""

    digest: Digest
    facts: Facts
    seen_s: float


class TagMemory:
    """The last manifest of each (holder, tag), the least recently used going first."""

    def __init__(self, *, max_tags: int = MAX_TAGS) -> None:
        self._max_tags = max_tags
        self._records: OrderedDict[tuple[Holder, str], TagRecord] = OrderedDict()
        self.changes = 0
        """Grows with whatever is worth writing down."""

    def __len__(self) -> int:
        return len(self._records)

    def remember(
        self, holder: Holder, tag: str, digest: Digest, facts: Facts, *, now_s: float
    ) -> None:
        """Record what the registry has just said of `tag`."""
        self._records[holder, tag] = TagRecord(digest, facts, now_s)
        self.changes += 1
        self._records.move_to_end((holder, tag))
        while len(self._records) > self._max_tags:
            self._records.popitem(last=False)

    def last(self, holder: Holder, tag: str) -> TagRecord | None:
        """Return what the registry last said of `tag` to this holder, or None."""
        record = self._records.get((holder, tag))
        if record is not None:
            self._records.move_to_end((holder, tag))
        return record

    def forget(self, holder: Holder, tag: str) -> None:
        """The registry says that there is no such tag any more."""
        self._records.pop((holder, tag), None)
        self.changes += 1

    def all(self) -> Iterator[tuple[Holder, str, TagRecord]]:
        """Yield every record, the least recently used first."""
        for (holder, tag), record in self._records.items():
            yield holder, tag, record
