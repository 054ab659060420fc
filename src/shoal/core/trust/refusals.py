"""When something was last refused, so that a yes to an older question cannot undo it.

Two requests of one client may overlap: one is asked, the next is asked and refused, and then the
answer to the first arrives. It was true when it was given and is no more.
"""

from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

MAX_REFUSALS = 4_096

KeyT = TypeVar("KeyT", bound=Hashable)


class Refusals(Generic[KeyT]):
    """The moment of the last refusal of each key, in bounded space."""

    def __init__(self, *, capacity: int = MAX_REFUSALS) -> None:
        self._at_s: OrderedDict[KeyT, float] = OrderedDict()
        self._capacity = capacity
        # What is no longer known of one key is taken to hold for all: that costs a question more.
        self._floor_s = float("-inf")

    def __len__(self) -> int:
        return len(self._at_s)

    def note(self, key: KeyT, now_s: float) -> None:
        """`key` is refused now."""
        self._at_s[key] = now_s
        self._at_s.move_to_end(key)
        while len(self._at_s) > self._capacity:
            _, forgotten_s = self._at_s.popitem(last=False)
            self._floor_s = max(self._floor_s, forgotten_s)

    def is_after(self, key: KeyT, asked_s: float) -> bool:
        """Return whether `key` was refused at or after `asked_s`, or may have been."""
        return asked_s <= max(self._floor_s, self._at_s.get(key, float("-inf")))
