"""The figures at the end."""

import io

import pytest
from rich.console import Console

from shoal.testing.demo.node_pull import Pulled
from shoal.testing.demo.outcome import NodeOutcome, Outcome, megabits
from shoal.testing.demo.site import Figures

GOOD = Pulled(2.25, verified=True)
BAD = Pulled(9.0, verified=False, error="gone")


def outcome(*pulls: Pulled, rate: int | None = 12_500_000) -> Outcome:
    """Return the outcome of these pulls."""
    return Outcome(
        nodes=[
            NodeOutcome(f"node {n}", f"127.1.2.{n}:65001", pulled, Figures(10_000_000, 30_000_000))
            for n, pulled in enumerate(pulls, 1)
        ],
        image_bytes=25_000_000,
        origin_bytes=26_000_000,
        rate_bytes_per_s=rate,
    )


def text(shown: Outcome) -> str:
    """Return the table as it is printed into a file."""
    console = Console(file=io.StringIO(), width=80)
    console.print(shown.table())
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_json_has_what_was_promised() -> None:
    assert outcome(GOOD, BAD).as_json() == {
        "nodes": 2,
        "image_bytes": 25_000_000,
        "origin_bytes": 26_000_000,
        "origin_copies": 1.04,
        "peer_bytes": 60_000_000,
        "seconds_per_node": [2.25, None],
        "verified_nodes": 1,
    }


def test_the_table_fits_a_terminal_and_names_every_node() -> None:
    shown = text(outcome(GOOD, BAD))
    assert max(len(line) for line in shown.splitlines()) <= 80
    rows = [line for line in shown.splitlines() if "127.1.2." in line]
    assert "2.2 s" in rows[0]
    assert "10.0 MB" in rows[0]
    assert "30.0 MB" in rows[0]
    assert "yes" in rows[0]
    assert "failed" in rows[1]
    assert "no" in rows[1]
    assert "1 of 2" in shown


def test_a_node_failed_by_error_or_unverified_bytes() -> None:
    unverified = Pulled(1.0, verified=False)
    assert outcome(GOOD, GOOD).failed == []
    assert [node.pulled for node in outcome(GOOD, BAD, unverified).failed] == [BAD, unverified]


def test_an_agent_that_tells_nothing_is_shown_and_counts_as_failed() -> None:
    silent = NodeOutcome("node 1", "127.1.2.1:65001", GOOD, None)
    shown = Outcome([silent], image_bytes=10, origin_bytes=10, rate_bytes_per_s=None)
    assert shown.failed == [silent]
    assert shown.peer_bytes == 0
    assert "?" in text(shown)


def test_the_summary_says_what_is_computed() -> None:
    said = outcome(GOOD, GOOD).summary()
    assert "The registry sent 26.0 MB, 1.04 copies of the image, for 2 nodes." in said
    assert "100 Mbit/s carries the image once in 2.0 s and 2 times in 4.0 s" in said
    assert "(computed, not measured)" in said
    assert "after 2.2 s" in said


def test_without_a_limit_nothing_is_compared() -> None:
    said = outcome(GOOD, rate=None).summary()
    assert said == "The registry sent 26.0 MB, 1.04 copies of the image, for 1 node."


@pytest.mark.parametrize(("rate", "shown"), [(12_500_000, "100 Mbit/s"), (62_500, "0.5 Mbit/s")])
def test_rates_are_as_links_have_them(rate: int, shown: str) -> None:
    assert megabits(rate) == shown
