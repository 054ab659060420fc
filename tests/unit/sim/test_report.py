"""The table of one run."""

from dataclasses import replace

from shoal.sim.report import table
from shoal.sim.run import run
from shoal.sim.scenario import Scenario

RESULTS = run(
    Scenario.model_validate(
        {
            "title": "two kinds",
            "registry": {"rate": "1Gbit/s"},
            "nodes": [
                {"name": "fast", "count": 3, "rate": "1Gbit/s"},
                {"name": "slow", "count": 1, "rate": "10Mbit/s", "healthy": False},
            ],
            "image": [{"size": "4MB"}],
        }
    )
)


def test_every_group_has_a_row_and_the_healthy_ones_a_row_of_the_whole() -> None:
    lines = table(RESULTS).splitlines()
    assert lines[0] == "two kinds"
    assert [line.split()[:3] for line in lines[3:6]] == [
        ["healthy", "3", "3"],
        ["fast", "3", "3"],
        ["slow", "1", "1"],
    ]
    assert "copies a site" in table(RESULTS)


def test_trouble_is_only_told_where_there_was_any() -> None:
    assert "UNFINISHED" not in table(RESULTS)
    text = table(replace(RESULTS, alive_unfinished=2, registry_refused=3, gave_up=1))
    assert "UNFINISHED 2 live nodes" in text
    assert "3 requests were answered 429" in text
    assert "1 nodes went to the registry" in text
