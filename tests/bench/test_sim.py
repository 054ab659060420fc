"""The rows of the simulator's benchmark."""

from typing import Any

import pytest

from bench.sim import ROWS, Ran, run
from shoal.sim.scenario import Scenario, load

DOCUMENT: dict[str, Any] = {
    "whole": {
        "ideal_s": 10.0,
        "p50_s": 10.4,
        "p95_s": 10.8,
        "p99_s": 11.0,
        "p999_s": 11.4,
        "last_s": 12.0,
        "arrived_p99_s": 10.9,
        "floor_s": 10.5,
    },
    "copies": 1.0,
    "uploaded_most": 1.2,
    "messages_most": 1000,
    "messages_sent_most": 1000,
    "handshakes_most": 40,
    "virtual_s": 12.0,
    "alive_unfinished": 0,
    "shared_least": 1.0,
    "registry_peak_bytes_per_s": 1e8,
}


@pytest.mark.parametrize("name", ROWS)
def test_every_row_is_a_scenario_that_is_shipped_and_has_figures(name: str) -> None:
    load(name)
    figures = ROWS[name].figures(Ran(DOCUMENT, cpu_s=50.0, memory_gib=0.2))
    assert figures
    assert len({figure.name for figure in figures}) == len(figures)
    assert all(figure.name.isidentifier() for figure in figures)


def test_a_row_runs_in_a_process_of_its_own() -> None:
    scenario = Scenario.model_validate(
        {
            "title": "t",
            "registry": {"rate": "1Gbit/s"},
            "nodes": [{"count": 20, "rate": "1Gbit/s"}],
            "image": [{"size": "4MB"}],
        }
    )
    ran = run(scenario, part=10)
    assert ran.document["nodes"] == 2
    assert ran.cpu_s > 0
    assert 0.01 < ran.memory_gib < 1
