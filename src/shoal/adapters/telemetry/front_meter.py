"""What the front counts, as metrics."""

from shoal.adapters.telemetry.metrics import Metrics


class FrontMeter:
    """Told of each event of the front as it happens; is the agent's `FrontMetrics`."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def answered(self, route: str, *, status: int, seconds: float) -> None:
        """A request to `route` was answered."""
        self._metrics.front_requests.labels(route=route, status=str(status)).inc()
        self._metrics.front_request_seconds.labels(route=route).observe(seconds)

    def sent(self, route: str, *, size_bytes: int) -> None:
        """That many bytes of content went out to a client."""
        self._metrics.front_sent_bytes.labels(route=route).inc(size_bytes)

    def refused(self, cause: str) -> None:
        """A request or connection got no content, or not all of it."""
        self._metrics.front_refusals.labels(cause=str(cause)).inc()

    def connections(self, count: int) -> None:
        """There are now `count` client connections."""
        self._metrics.front_connections.set(count)
