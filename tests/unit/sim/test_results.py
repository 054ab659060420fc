"""What is counted, and what it is held against."""

import json
import math

import pytest

from shoal.sim.results import ideal_s, percentile
from shoal.sim.run import run
from shoal.sim.scenario import Scenario
from shoal.sim.wire import goodput


def scenario(**changes: object) -> Scenario:
    document: dict[str, object] = {
        "title": "t",
        "registry": {"rate": "1Gbit/s"},
        "nodes": [{"count": 4, "rate": "100Mbit/s"}],
        "image": [{"size": "10MB"}],
    }
    return Scenario.model_validate(document | changes)


def test_a_percentile_is_a_value_that_was_measured() -> None:
    values = [float(number) for number in range(1, 101)]
    assert [percentile(values, share) for share in (0.5, 0.99, 1.0)] == [50.0, 99.0, 100.0]
    assert percentile([7.0], 0.5) == 7.0
    assert math.isnan(percentile([], 0.5))


def test_the_ideal_is_the_tightest_of_nodes_link_uplink_and_registry() -> None:
    node = ideal_s(scenario(), 12.5e6, missing_bytes=10e6)
    assert node == pytest.approx(10e6 / goodput(12.5e6))
    slow = scenario(registry={"rate": "10Mbit/s"})
    assert ideal_s(slow, 12.5e6, missing_bytes=10e6) == pytest.approx(10e6 / goodput(1.25e6))
    behind = scenario(sites=[{"name": "site", "uplink": "20Mbit/s"}])
    assert ideal_s(behind, 12.5e6, missing_bytes=10e6) == pytest.approx(10e6 / goodput(2.5e6))


def test_a_run_is_told_in_json() -> None:
    document = json.loads(json.dumps(run(scenario()).as_json()))
    assert document["whole"]["finished"] == 4
    assert len(document["completions_s"]) == 4
    assert sum(document["registry_bins"]) == document["registry_bytes"] == 10_000_000
    assert document["registry_peak_bytes_per_s"] == 10_000_000
