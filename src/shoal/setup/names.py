"""Names of what the chart and these commands make in a cluster; docs/kubernetes.md lists them."""

# Fixed, since the trust policies of RAM roles contain the service accounts' names.
NAME = "ack-acr-acceleration-p2p"

AGENT = NAME  # the DaemonSet
AGENT_SETTINGS = f"{NAME}-agent"
CONTROLLER = f"{NAME}-controller"
FAREWELL = f"{NAME}-farewell"
AUTHORITY = f"{NAME}-ca"
WEBHOOK = f"{NAME}-webhook"
WEBHOOK_TLS = f"{NAME}-webhook-tls"

CONTROLLER_PORT = 8443

# Type of the condition of Node objects that the controller writes from nodes' reports.
NODE_CONDITION = "ShoalReady"

# Of what is not the chart's own: what the commands make, and `shoal setup uninstall` deletes.
MADE_BY = {"app.kubernetes.io/managed-by": "shoal", "app.kubernetes.io/instance": NAME}


def component(name: str) -> dict[str, str]:
    """Return the labels of a component's pods."""
    return {"app.kubernetes.io/name": NAME, "app.kubernetes.io/component": name}


def selector(labels: dict[str, str]) -> str:
    """Return labels as the API server's `labelSelector` takes them."""
    return ",".join(f"{key}={value}" for key, value in labels.items())
