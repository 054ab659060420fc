"""What registries have asked to be left alone about, and until when."""

from collections import OrderedDict

_CAPACITY = 4096
# A registry that says more is not believed: whoever wants the blob then asks it once an hour.
LONGEST_S = 3600.0


class LeftAlone:
    """Remembers `Retry-After`, whoever of this node's clients comes next.

    By what was asked and by whom: limits are a client's or an address's, but a registry may also
    refuse one repository or one storage node, and what it would give must not be kept from anybody.
    """

    def __init__(self, *, capacity: int = _CAPACITY) -> None:
        self._until_s: OrderedDict[tuple[str, ...], float] = OrderedDict()
        self._capacity = capacity

    def ask_later(self, key: tuple[str, ...], wait_s: float, *, now_s: float) -> None:
        """The registry wants not to be asked for `wait_s`, 0 for a while that it does not tell."""
        if wait_s <= 0:
            return
        self._until_s[key] = now_s + min(wait_s, LONGEST_S)
        self._until_s.move_to_end(key)
        while len(self._until_s) > self._capacity:
            self._until_s.popitem(last=False)

    def wait_s(self, key: tuple[str, ...], *, now_s: float) -> float:
        """Return for how long the registry is still to be left alone; 0 if it may be asked."""
        until_s = self._until_s.get(key)
        if until_s is None:
            return 0.0
        if until_s <= now_s:
            del self._until_s[key]
            return 0.0
        return until_s - now_s
