"""Names of what is counted."""

from prometheus_client import CollectorRegistry, generate_latest

from shoal.setup.cluster.metrics import ControllerMetrics, WebhookMetrics


def test_both_have_names_of_their_own() -> None:
    registry = CollectorRegistry()
    ControllerMetrics(registry).looks.labels("written").inc()
    WebhookMetrics(registry).reviews.labels("rewritten").inc()
    text = generate_latest(registry).decode()
    assert 'shoal_controller_looks_total{outcome="written"} 1.0' in text
    assert 'shoal_webhook_reviews_total{outcome="rewritten"} 1.0' in text
