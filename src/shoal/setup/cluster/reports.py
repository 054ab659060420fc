"""What a node says of itself, as a condition of its Node object and an Event."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from shoal.adapters.kube.api import KubeConnection
from shoal.core.errors import BadInput
from shoal.setup.cluster.node_proof import ProvedNode
from shoal.setup.cluster.objects import NODES, collection
from shoal.setup.names import CONTROLLER, NODE_CONDITION

_STATUSES = ("True", "False", "Unknown")
_REASON_CHARACTERS = 128
_MESSAGE_CHARACTERS = 1024  # as Kubernetes bounds an Event's
# Events of objects that have no namespace are in this one.
_EVENTS = collection("default", "events")


@dataclass(frozen=True, slots=True)
class Report:
    """A node's state."""

    status: str
    reason: str
    message: str

    @classmethod
    def parse(cls, body: Mapping[str, Any]) -> "Report":
        """Return what a node has sent.

        Raises:
            BadInput: it is no report.
        """
        status, reason, message = (body.get(key) for key in ("status", "reason", "message"))
        if status not in _STATUSES:
            raise BadInput(f"status is one of {', '.join(_STATUSES)}")
        if not isinstance(reason, str) or not (reason.isascii() and reason.isalnum()):
            raise BadInput("reason is one word in CamelCase")
        if not isinstance(message, str):
            raise BadInput("message is a text")
        return cls(status, reason[:_REASON_CHARACTERS], message[:_MESSAGE_CHARACTERS])

    def is_of(self, condition: Mapping[str, Any] | None) -> bool:
        """Return whether a condition already says this."""
        return condition is not None and all(
            condition.get(key) == value
            for key, value in (
                ("status", self.status),
                ("reason", self.reason),
                ("message", self.message),
            )
        )


async def publish(
    kube: KubeConnection, node: ProvedNode, report: Report, *, now: datetime | None = None
) -> bool:
    """Write the node's condition if it says something else, and an Event; return whether it did.

    Raises:
        KubeError: it could not be written.
    """
    before = next((one for one in node.conditions if one.get("type") == NODE_CONDITION), None)
    if report.is_of(before):
        return False
    at = (now or datetime.now(UTC)).strftime("%Y-%m-%dT%H:%M:%SZ")
    is_same = before is not None and before.get("status") == report.status
    condition = {
        "type": NODE_CONDITION,
        "status": report.status,
        "reason": report.reason,
        "message": report.message,
        "lastHeartbeatTime": at,
        "lastTransitionTime": before.get("lastTransitionTime", at) if is_same and before else at,
    }
    change = {"status": {"conditions": [condition]}}
    await kube.patch(f"{NODES}/{node.name}/status", change, kind="strategic")
    await kube.create(_EVENTS, _event(node, report, at))
    return True


def _event(node: ProvedNode, report: Report, at: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"generateName": f"{node.name}.", "namespace": "default"},
        # A Node's Events have its name as uid: so the kubelet writes them, and kubectl looks.
        "involvedObject": {"apiVersion": "v1", "kind": "Node", "name": node.name, "uid": node.name},
        "type": "Normal" if report.status == "True" else "Warning",
        "reason": report.reason,
        "message": report.message,
        "firstTimestamp": at,
        "lastTimestamp": at,
        "count": 1,
        "source": {"component": CONTROLLER, "host": node.name},
        "reportingComponent": CONTROLLER,
        "reportingInstance": CONTROLLER,
    }
