"""Which refused calls get a line in the audit trail: anybody can make those, as many as they like.

Of refusals that are alike some are recorded each, and those beyond within a minute are counted: one
line then says how many there were. In all no more lines are written than a database bears.
"""

from collections import OrderedDict
from dataclasses import dataclass

WINDOW_S = 60
EACH = 20  # of refusals that are alike, in a window
MAX_IN_WINDOW = 1_200  # of all together: 20 a second
MAX_KINDS = 10_000


@dataclass(frozen=True, slots=True)
class Kind:
    """What makes refusals alike: who says they called, from where, and what they asked for."""

    actor: str
    source: str
    action: str


@dataclass(slots=True)
class _Count:
    began_s: int
    recorded: int = 0
    left_out: int = 0


class Refusals:
    """Decides, refusal by refusal."""

    def __init__(self) -> None:
        self._counts: OrderedDict[Kind, _Count] = OrderedDict()  # in order of their beginning
        self._window_s = 0
        self._in_window = 0

    def is_recorded(self, kind: Kind, *, now_s: int) -> bool:
        """Return whether this one gets a line of its own."""
        if now_s - self._window_s >= WINDOW_S:
            self._window_s, self._in_window = now_s, 0
        count = self._counts.get(kind)
        if count is None:
            if len(self._counts) >= MAX_KINDS:
                return False
            count = self._counts[kind] = _Count(now_s)
        if count.recorded < EACH and self._in_window < MAX_IN_WINDOW:
            count.recorded += 1
            self._in_window += 1
            return True
        count.left_out += 1
        return False

    def ended(self, *, now_s: int) -> list[tuple[Kind, int]]:
        """Return of which kinds some were left out whose minute is over, and how many; once."""
        found = []
        while self._counts:
            kind, count = next(iter(self._counts.items()))
            if now_s - count.began_s < WINDOW_S:
                break
            del self._counts[kind]
            if count.left_out:
                found.append((kind, count.left_out))
        return found
