"""The ledger: what is judged, what is printed, what is written down."""

import io
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.ledger import Figure, Ledger, parser
from bench.machine import Commit, Machine

COMMIT = Commit(id="0123456789ab", dirty=False)
MACHINE = Machine(
    cpu="Some CPU",
    cores=2,
    memory_gib=23.4,
    kernel="6.1.0",
    system="Debian GNU/Linux 12",
    python="3.11.2",
)


def finish(ledger: Ledger, results: Path, *arguments: str) -> tuple[int, str]:
    """Finish as `./dev bench NAME ARGUMENTS` does; return the exit code and what was printed."""
    out = io.StringIO()
    code = ledger.finish(
        parser("", runs=5).parse_args(arguments),
        out=out,
        results=results,
        commit=COMMIT,
        machine=MACHINE,
    )
    return code, out.getvalue()


@pytest.fixture
def rollout() -> Ledger:
    """A ledger with one kept bound, one missed bound and one figure to compare with."""
    ledger = Ledger(
        "rollout", question="How near to ideal?", command="./dev bench rollout --runs 3"
    )
    ledger.add(Figure.at_most("last_node", [1.14, 1.12, 1.3], bound=1.2, unit="x ideal"))
    ledger.add(Figure.at_most("copies", [1.05], bound=1.02, note="bodies of blob GETs"))
    ledger.add(Figure.shown("without", [7.9, 8.0], unit="x ideal"))
    return ledger


@given(st.lists(st.floats(0, 1e9), min_size=1), st.floats(0, 1e9))
def test_a_figure_is_judged_by_its_median_and_its_worst_run_is_on_the_wrong_side_of_it(
    runs: list[float], bound: float
) -> None:
    most = Figure.at_most("figure", runs, bound=bound)
    least = Figure.at_least("figure", runs, bound=bound)
    assert most.value == least.value
    assert least.worst <= most.value <= most.worst
    assert most.ok == (most.value <= bound)
    assert least.ok == (least.value >= bound)
    assert most.ok or not most.worst_ok
    assert least.ok or not least.worst_ok


def test_the_worst_run_of_a_figure_without_a_bound_is_on_the_side_that_counts_as_worse() -> None:
    assert Figure.shown("seconds", [1.0, 3.0, 2.0]).worst == 3.0
    assert Figure.shown("rate", [1.0, 3.0, 2.0], more_is_better=True).worst == 1.0


def test_a_figure_of_no_runs_is_refused() -> None:
    with pytest.raises(ValueError, match="figure was never measured"):
        Figure.at_most("figure", [], bound=1.0)


def test_two_figures_of_one_name_are_refused(rollout: Ledger) -> None:
    with pytest.raises(ValueError, match="two figures named copies"):
        rollout.add(Figure.shown("copies", [1.0]))


def test_a_missed_bound_is_shown_as_missed_beside_the_bound(
    rollout: Ledger, tmp_path: Path
) -> None:
    _, printed = finish(rollout, tmp_path)
    lines = [line.split() for line in printed.splitlines()]
    assert ["copies", "1.05", "at", "most", "1.02", "MISSED"] in lines


def test_a_worst_run_beyond_the_bound_is_shown_although_the_median_keeps_it(
    rollout: Ledger, tmp_path: Path
) -> None:
    _, printed = finish(rollout, tmp_path)
    assert "1.14 x ideal  1.3 x ideal  at most 1.2 x ideal  ok, worst run missed" in printed


@pytest.mark.parametrize(("arguments", "code"), [((), 0), (("--strict",), 1)])
def test_a_missed_bound_fails_only_where_it_was_asked_to(
    rollout: Ledger, tmp_path: Path, arguments: tuple[str, ...], code: int
) -> None:
    assert finish(rollout, tmp_path, *arguments)[0] == code


def test_json_is_the_last_line(rollout: Ledger, tmp_path: Path) -> None:
    _, printed = finish(rollout, tmp_path, "--json")
    assert json.loads(printed.splitlines()[-1]) == {
        "bench": "rollout",
        "figures": [
            {"name": "last_node", "value": 1.14, "bound": 1.2, "ok": True},
            {"name": "copies", "value": 1.05, "bound": 1.02, "ok": False},
            {"name": "without", "value": 7.95, "bound": None, "ok": True},
        ],
    }


def test_the_results_page_says_what_was_measured_how_on_what_and_of_which_commit(
    rollout: Ledger, tmp_path: Path
) -> None:
    rollout.note("Links of 100 Mbit/s.")
    finish(rollout, tmp_path)
    page = (tmp_path / "rollout.md").read_text(encoding="utf-8")
    for part in (
        "| last_node | 1.14 x ideal | 1.3 x ideal | at most 1.2 x ideal | ok, worst run missed |",
        "- `last_node` (x ideal): 1.14, 1.12, 1.3",
        "- `copies`: bodies of blob GETs",
        "Links of 100 Mbit/s.",
        "- commit: 0123456789ab\n",
        "- command: `./dev bench rollout --runs 3`",
        "- machine: 2 cores of Some CPU, 23 GiB, Linux 6.1.0, Debian GNU/Linux 12, Python 3.11.2",
    ):
        assert part in page


def test_the_results_data_holds_every_run(rollout: Ledger, tmp_path: Path) -> None:
    finish(rollout, tmp_path)
    data = json.loads((tmp_path / "rollout.json").read_text(encoding="utf-8"))
    assert data["figures"][0]["runs"] == [1.14, 1.12, 1.3]
    assert data["commit"] == {"id": "0123456789ab", "dirty": False}
    assert data["machine"]["cores"] == 2
    assert data["command"] == "./dev bench rollout --runs 3"


def test_nothing_is_written_where_that_was_not_wanted(rollout: Ledger, tmp_path: Path) -> None:
    finish(rollout, tmp_path, "--no-write")
    assert list(tmp_path.iterdir()) == []


def test_no_runs_at_all_cannot_be_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parser("").parse_args(["--runs", "0"])
    assert "must be 1 or more" in capsys.readouterr().err
