"""What the controller and the webhook count, for Prometheus."""

from prometheus_client import CollectorRegistry, Counter, Gauge


class ControllerMetrics:
    """The controller's."""

    def __init__(self, registry: CollectorRegistry) -> None:
        """Declare them in `registry`."""
        self.registry = registry
        self.node_requests = Counter(
            "shoal_controller_node_requests",
            "Requests by nodes, by what was asked and the status of the answer.",
            ("asked", "status"),
            registry=registry,
        )
        self.looks = Counter(
            "shoal_controller_looks",
            "Times that the agents' settings were held to what is so, by what came of it.",
            ("outcome",),  # unchanged, written, failed
            registry=registry,
        )
        self.last_look_timestamp_seconds = Gauge(
            "shoal_controller_last_look_timestamp_seconds",
            "When the agents' settings were last known to be right, as Unix time.",
            registry=registry,
        )
        self.nodes = Gauge(
            "shoal_controller_nodes", "Nodes that share a site with others.", registry=registry
        )


class WebhookMetrics:
    """The webhook's."""

    def __init__(self, registry: CollectorRegistry) -> None:
        """Declare them in `registry`."""
        self.registry = registry
        self.reviews = Counter(
            "shoal_webhook_reviews",
            "Pods that were looked at, by what came of it.",
            ("outcome",),  # rewritten, unchanged, failed
            registry=registry,
        )
