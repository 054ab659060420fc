"""The front's events become metrics."""

from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry

from shoal.adapters.telemetry.front_meter import FrontMeter
from shoal.adapters.telemetry.metrics import Metrics
from shoal.agent.front.answers import Cause

if TYPE_CHECKING:
    from shoal.agent.front.metrics import FrontMetrics


def test_every_event_is_counted_under_its_label() -> None:
    registry = CollectorRegistry()
    meter: FrontMetrics = FrontMeter(Metrics(registry))
    meter.answered("blob", status=206, seconds=0.3)
    meter.sent("blob", size_bytes=1000)
    meter.refused(Cause.UNKNOWN_REGISTRY)
    meter.connections(7)

    def value(name: str, **labels: str) -> float | None:
        return registry.get_sample_value(name, labels)

    assert value("shoal_front_requests_total", route="blob", status="206") == 1
    assert value("shoal_front_request_seconds_sum", route="blob") == 0.3
    assert value("shoal_front_sent_bytes_total", route="blob") == 1000
    assert value("shoal_front_refusals_total", cause="unknown-registry") == 1
    assert value("shoal_front_connections") == 7
