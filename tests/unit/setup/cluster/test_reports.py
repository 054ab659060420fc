"""What nodes say of themselves, and where it is written."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from shoal.adapters.kube.api import connected
from shoal.core.errors import BadInput
from shoal.setup.cluster.node_proof import ProvedNode
from shoal.setup.cluster.reports import Report, publish
from unit.setup.cluster.world import world

FINE = Report("True", "Installed", "containerd asks the agent first")


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"status": "maybe", "reason": "A", "message": ""},
        {"status": "True", "reason": "two words", "message": ""},
        {"status": "True", "reason": "", "message": ""},
        {"status": "True", "reason": "A", "message": 1},
    ],
)
def test_what_is_no_report_is_refused(body: dict[str, Any]) -> None:
    with pytest.raises(BadInput):
        Report.parse(body)


def test_texts_are_cut() -> None:
    report = Report.parse({"status": "True", "reason": "R" * 500, "message": "m" * 5000})
    assert (len(report.reason), len(report.message)) == (128, 1024)


async def test_a_condition_changes_beside_the_others_and_an_event_tells_it(tmp_path: Path) -> None:
    async with world(tmp_path) as here, connected(here.access) as kube:

        def node() -> ProvedNode:
            conditions = here.get("/api/v1/nodes/a")["status"]["conditions"]
            return ProvedNode("a", "u", (), "", tuple(conditions))

        first = datetime(2026, 1, 1, tzinfo=UTC)
        later = datetime(2026, 1, 2, tzinfo=UTC)
        assert await publish(kube, node(), FINE, now=first)
        assert not await publish(kube, node(), FINE, now=later)
        moved = Report("True", "Installed", "another message")
        assert await publish(kube, node(), moved, now=later)
        ready, condition = here.get("/api/v1/nodes/a")["status"]["conditions"]
        assert ready["type"] == "Ready"
        assert condition["type"] == "ShoalReady"
        assert condition["lastTransitionTime"] == "2026-01-01T00:00:00Z"
        assert condition["lastHeartbeatTime"] == "2026-01-02T00:00:00Z"
        bad = Report("False", "PortInUse", "port 65001 is taken: change p2p.port")
        assert await publish(kube, node(), bad, now=later)
        events = [
            seen.body
            for seen in here.server.requests
            if seen.verb == "create" and seen.path == "/api/v1/namespaces/default/events"
        ]
        assert [event["type"] for event in events] == ["Normal", "Normal", "Warning"]
        assert events[-1]["involvedObject"]["name"] == "a"
        assert here.get("/api/v1/nodes/a")["spec"]  # nothing else was touched
