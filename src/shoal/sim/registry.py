"""The registry: one link, a cap for each connection, and a limit on requests."""

from dataclasses import dataclass, field

from shoal.sim.network import Link


@dataclass(slots=True)
class RegistryModel:
    """Answers Range requests as fast as its link, its cap and its limit allow."""

    link: Link
    one_way_s: float
    first_byte_s: float
    flow_bytes_per_s: float = 0.0  # of one connection; 0 for all
    requests_per_s: float | None = None
    burst: int = 1
    retry_after_s: float = 1.0
    requests: int = 0
    refused: int = 0
    sent_bytes: int = 0
    bins: dict[int, int] = field(default_factory=dict)  # bytes by BIN_S of time
    _tokens: float = field(init=False)
    _counted_s: float = 0.0

    def __post_init__(self) -> None:
        self._tokens = float(self.burst)

    def admit(self, now_s: float) -> bool:
        """A request arrives: return whether it is served, or refused with 429."""
        self.requests += 1
        if self.requests_per_s is None:
            return True
        gained = (now_s - self._counted_s) * self.requests_per_s
        self._tokens = min(float(self.burst), self._tokens + gained)
        self._counted_s = now_s
        if self._tokens < 1.0:
            self.refused += 1
            return False
        self._tokens -= 1.0
        return True

    def count(self, size_bytes: int, now_s: float) -> None:
        """Bytes of the image leave."""
        self.sent_bytes += size_bytes
        number = int(now_s / BIN_S)
        self.bins[number] = self.bins.get(number, 0) + size_bytes


BIN_S = 0.1
