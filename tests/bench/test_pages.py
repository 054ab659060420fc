"""Results of several configurations: each keeps its section until it is measured again."""

import io
import json
from pathlib import Path

import pytest

from bench.ledger import Figure, Ledger, finish_all, parser
from bench.machine import Commit, Machine
from bench.pages import read_sections

MACHINE = Machine(
    cpu="Some CPU",
    cores=2,
    memory_gib=23.4,
    kernel="6.1.0",
    system="Debian GNU/Linux 12",
    python="3.11.2",
)


def ledger(section: str, *last: float, command: str = "./dev bench rollout") -> Ledger:
    """A configuration with its figures."""
    made = Ledger(
        "rollout",
        question="How near to ideal?",
        command=command,
        section=section,
        summary=("last_node", "cpu_idle"),
    )
    made.add(Figure.at_most("last_node", last, bound=1.15, unit="x ideal"))
    made.add(Figure.shown("cpu_idle", [12.3], unit="%"))
    made.details.append({"fetches": {"n1": 1.5}})
    return made


def finish(
    results: Path, *ledgers: Ledger, commit: str = "0123456789ab", json: bool = False
) -> str:
    """Finish as a benchmark does; return what was printed."""
    out = io.StringIO()
    finish_all(
        ledgers,
        parser("").parse_args(["--json"] if json else []),
        out=out,
        results=results,
        commit=Commit(id=commit, dirty=False),
        machine=MACHINE,
    )
    return out.getvalue()


def page(results: Path) -> str:
    return (results / "rollout.md").read_text(encoding="utf-8")


def test_a_section_that_is_measured_again_leaves_the_others_as_they_are(tmp_path: Path) -> None:
    finish(tmp_path, ledger("8 nodes", 1.1), ledger("16 nodes", 1.2))
    before = page(tmp_path).partition("## 16 nodes")[2]
    finish(tmp_path, ledger("8 nodes", 1.05), commit="ba9876543210")
    assert page(tmp_path).partition("## 16 nodes")[2] == before
    assert [section.section for section in read_sections(tmp_path / "rollout.json")] == [
        "8 nodes",
        "16 nodes",
    ]
    assert "- commit: ba9876543210\n" in page(tmp_path)


def test_the_table_of_all_sections_shows_bounds_and_what_was_idle(tmp_path: Path) -> None:
    finish(tmp_path, ledger("8 nodes", 1.1))
    finish(tmp_path, ledger("16 nodes", 1.2), commit="ba9876543210")
    lines = page(tmp_path).splitlines()
    assert "| configuration | last_node | cpu_idle | commit |" in lines
    assert "| 8 nodes | 1.1 x ideal (at most 1.15: ok) | 12.3 % | 0123456789ab |" in lines
    assert "| 16 nodes | 1.2 x ideal (at most 1.15: MISSED) | 12.3 % | ba9876543210 |" in lines


def test_each_section_says_how_it_was_measured(tmp_path: Path) -> None:
    command = "./dev bench rollout --nodes 16"
    finish(tmp_path, ledger("8 nodes", 1.1), ledger("16 nodes", 1.1, command=command))
    section = page(tmp_path).partition("## 16 nodes\n")[2]
    for part in (
        "| last_node | 1.1 x ideal |  | at most 1.15 x ideal | ok |",
        "- `last_node` (x ideal): 1.1\n",
        f"- command: `{command}`\n",
        "- machine: 2 cores of Some CPU",
    ):
        assert part in section


def test_what_was_kept_is_read_again_as_it_was(tmp_path: Path) -> None:
    finish(tmp_path, ledger("8 nodes", 1.1, 1.3))
    (kept,) = read_sections(tmp_path / "rollout.json")
    assert kept.figures == tuple(ledger("", 1.1, 1.3).figures)
    assert kept.details == ({"fetches": {"n1": 1.5}},)
    assert kept.commit == Commit(id="0123456789ab", dirty=False)


def test_the_last_line_names_the_section_of_each_figure(tmp_path: Path) -> None:
    printed = finish(tmp_path, ledger("8 nodes", 1.1), ledger("16 nodes", 1.2), json=True)
    figures = json.loads(printed.splitlines()[-1])["figures"]
    assert [(f["section"], f["name"], f["ok"]) for f in figures] == [
        ("8 nodes", "last_node", True),
        ("8 nodes", "cpu_idle", True),
        ("16 nodes", "last_node", False),
        ("16 nodes", "cpu_idle", True),
    ]


def test_two_configurations_without_sections_are_a_mistake(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="too many values"):
        finish(tmp_path, ledger("", 1.1), ledger("", 1.2))
