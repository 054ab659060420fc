"""The front's log lines: each names its cause, and a flood of one cause cannot flood the log."""

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from shoal.agent.front.answers import Cause
from shoal.agent.front.metrics import FrontMetrics, NoMetrics

_log = logging.getLogger("shoal.agent.front")

# A misconfigured client repeats itself some times a second; five lines show the pattern.
_LINES_PER_WINDOW = 5
_WINDOW_S = 10.0

# Expected in normal operation: worth counting, not worth a warning. Probes of ports, and clients
# that connect for later, leave half-open connections; skopeo and Docker try TLS first.
_QUIET = frozenset(
    {
        Cause.CLIENT_LEFT,
        Cause.HALF_OPEN,
        Cause.NOT_FOUND,
        Cause.RANGE,
        Cause.TLS,
        Cause.UNKNOWN_REGISTRY,
    }
)


@dataclass(slots=True)
class _Window:
    began_s: float
    lines: int = 0
    left_out: int = 0


class Journal:
    """Writes what happened to requests, at most a few lines a cause in ten seconds."""

    def __init__(
        self,
        metrics: FrontMetrics | None = None,
        *,
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self.metrics = metrics or NoMetrics()
        self._clock_s = clock_s
        self._windows: dict[Cause, _Window] = {}  # bounded: one for each Cause

    def refused(
        self, cause: Cause, message: str, *, fields: Mapping[str, object] | None = None
    ) -> None:
        """A request got no content, or was cut.

        Args:
            cause: which kind of reason.
            message: the reason; holds no credential and no signed URL.
            fields: what else the line should say: registry, repository, digest, status.
        """
        self.metrics.refused(cause)
        now_s = self._clock_s()
        window = self._windows.get(cause)
        if window is None or now_s - window.began_s > _WINDOW_S:
            left_out = window.left_out if window is not None else 0
            window = self._windows[cause] = _Window(now_s)
        else:
            left_out = 0
            if window.lines >= _LINES_PER_WINDOW:
                window.left_out += 1
                return
        window.lines += 1
        extra: dict[str, object] = {"cause": cause.value, "reason": message[:512], **(fields or {})}
        if left_out:
            extra["similar_left_out"] = left_out
        level = logging.INFO if cause in _QUIET else logging.WARNING
        _log.log(level, "front_request_refused", extra=extra)

    def fault(self, error: BaseException) -> None:
        """An error that nobody foresaw: with its traceback, since it is a bug."""
        self.metrics.refused(Cause.FAULT)
        _log.error("front_fault", exc_info=error)
