"""FrontMetrics, and what counts nothing."""

from shoal.agent.front.answers import Cause
from shoal.agent.front.metrics import FrontMetrics, NoMetrics


def test_counting_nothing_is_a_way_to_count() -> None:
    metrics: FrontMetrics = NoMetrics()
    metrics.answered("blob", status=200, seconds=0.1)
    metrics.sent("blob", size_bytes=1)
    metrics.refused(Cause.METHOD)
    metrics.connections(1)
