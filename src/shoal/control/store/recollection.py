"""What was read lately, good until something is changed: most calls ask for the same few records.

A change that is committed makes all be forgotten, and what was being read meanwhile is not kept.
What another process changes in the same database is not seen so: for that, entries have an age.
"""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass

MAX_ENTRIES = 10_000
# Seconds. A SQLite file is one console's; only a mistake puts a second one beside it.
SHARED_MAX_AGE_S, ALONE_MAX_AGE_S = 1.0, 30.0


@dataclass(frozen=True, slots=True)
class _Entry:
    value: object
    read_at_s: float


class Recollection:
    """Remembers values by key; safe for use from several threads."""

    def __init__(self, *, max_age_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        """Begin with nothing.

        Args:
            max_age_s: seconds after which a value is read again in any case.
            clock: seconds that only grow.
        """
        self._max_age_s = max_age_s
        self._clock = clock
        self._entries: OrderedDict[Hashable, _Entry] = OrderedDict()
        self._version = 0
        self._lock = threading.Lock()

    @property
    def version(self) -> int:
        """What is to be read is good under; to be taken before reading."""
        return self._version

    def changed(self) -> None:
        """Forget everything: a change was committed."""
        with self._lock:
            self._version += 1
            self._entries.clear()

    def find(self, key: Hashable) -> tuple[object] | None:
        """Return the value of `key` in a tuple, or None where it has to be read."""
        with self._lock:
            entry = self._entries.get(key)
            if entry is None or self._clock() - entry.read_at_s > self._max_age_s:
                return None
            self._entries.move_to_end(key)
            return (entry.value,)

    def keep(self, key: Hashable, value: object, *, version: int) -> None:
        """Remember what was read under `version`, unless something was changed since."""
        with self._lock:
            if version != self._version:
                return
            self._entries[key] = _Entry(value, self._clock())
            if len(self._entries) > MAX_ENTRIES:
                self._entries.popitem(last=False)
