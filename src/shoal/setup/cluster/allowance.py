"""How often somebody may ask: a bucket that fills with time. Decides nothing else."""

from dataclasses import dataclass, field


@dataclass(slots=True)
class Allowances:
    """A bucket for each key; a bounded number of them, the fullest forgotten first."""

    burst: float
    """Requests at once."""
    per_s: float
    """Requests a second after that."""
    most: int = 16384
    """Keys that are remembered."""
    _buckets: dict[str, tuple[float, float]] = field(default_factory=dict)  # key -> (left, when)

    def take(self, key: str, *, now_s: float) -> float:
        """Take one; return 0, or after how many seconds there is one again, and take none."""
        left, at_s = self._buckets.pop(key, (self.burst, now_s))
        left = min(self.burst, left + (now_s - at_s) * self.per_s)
        wait_s = 0.0 if left >= 1 else (1 - left) / self.per_s
        # Put last: who was not heard of for longest stands first, and has most.
        self._buckets[key] = (left - 1 if wait_s == 0 else left, now_s)
        if len(self._buckets) > self.most:
            del self._buckets[next(iter(self._buckets))]
        return wait_s
