"""The book a benchmark writes its figures into: beside their bounds, with how they were measured.

A benchmark is a module of this folder with a `main() -> int`:

    def main() -> int:
        args = parser(__doc__, runs=5).parse_args()
        ledger = Ledger("warm", question="Does a warm store keep up with nginx?")
        ledger.add(Figure.at_least("of_nginx", [0.91, 0.93], bound=0.8, unit="x nginx"))
        return ledger.finish(args)

`./dev bench warm` runs it. The figure is the median of its runs and is judged by that; a worst run
beyond the bound is shown beside it, and every run is in `bench/results/warm.json`.

A benchmark of several configurations gives each a ledger with a `section`, and ends with
`finish_all`: its results page then has a section for each, and keeps those of other runs.
"""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TextIO

from bench.figure import Figure
from bench.machine import Commit, Machine, this_commit, this_machine
from bench.pages import Measured, table, write

__all__ = ["RESULTS", "Figure", "Ledger", "finish_all", "parser"]

RESULTS = Path(__file__).parent / "results"


@dataclass(slots=True)
class Ledger:
    """Collects a benchmark's figures; `finish` shows them and writes them down.

    Attributes:
        name: The benchmark's name, as `./dev bench` takes it.
        question: What it answers, in one sentence.
        command: What to type to run it again. By default what was typed.
        section: The configuration, where a benchmark has several.
        summary: Names of the figures that the page's table of all sections shows.
        notes: Paragraphs for the results page: set-up, what stands beside the figures.
        details: Whatever else of each run goes into the JSON.
    """

    name: str
    question: str = ""
    command: str = ""
    section: str = ""
    summary: tuple[str, ...] = ()
    notes: list[str] = field(default_factory=list)
    figures: list[Figure] = field(default_factory=list)
    details: list[Mapping[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        if not self.command:
            self.command = " ".join(["./dev bench", self.name, *sys.argv[1:]])

    def add(self, figure: Figure) -> None:
        """Keep one figure.

        Raises:
            ValueError: There is already one of that name.
        """
        if any(kept.name == figure.name for kept in self.figures):
            raise ValueError(f"{self.name} has two figures named {figure.name}")
        self.figures.append(figure)

    def note(self, paragraph: str) -> None:
        """Keep one paragraph for the results page."""
        self.notes.append(paragraph)

    def finish(
        self,
        args: argparse.Namespace,
        *,
        out: TextIO | None = None,
        results: Path = RESULTS,
        commit: Commit | None = None,
        machine: Machine | None = None,
    ) -> int:
        """Print the figures, write them down, say how the process should exit; see `finish_all`."""
        return finish_all([self], args, out=out, results=results, commit=commit, machine=machine)

    def table(self) -> str:
        """Return the figures for a terminal."""
        rows = [("figure", "median", "worst", "bound", ""), *table(self.figures)]
        widths = [max(len(row[column]) for row in rows) for column in range(5)]
        lines = [
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
            for row in rows
        ]
        return "\n".join([f"{self.name}: {self.section or self.question}".rstrip(": "), *lines])

    def measured(self, when: datetime, commit: Commit, machine: Machine) -> Measured:
        """Return all of it as it is kept."""
        return Measured(
            bench=self.name,
            question=self.question,
            section=self.section,
            date=when.isoformat(),
            commit=commit,
            command=self.command,
            machine=machine,
            figures=tuple(self.figures),
            notes=tuple(self.notes),
            summary=self.summary,
            details=tuple(self.details),
        )


def finish_all(
    ledgers: Sequence[Ledger],
    args: argparse.Namespace,
    *,
    out: TextIO | None = None,
    results: Path = RESULTS,
    commit: Commit | None = None,
    machine: Machine | None = None,
) -> int:
    """Print the figures of one benchmark, write them to `results`, say how the process should exit.

    Args:
        ledgers: At least one; if they are several, each has a section of its own.
        args: What `parser` parsed.
        out: Where to print; standard output by default.
        results: The folder that receives `NAME.md` and `NAME.json`.
        commit: Which code was measured; by default asked of git.
        machine: What it ran on; by default this machine.

    Returns:
        0, or 1 if a bound was missed and `--strict` was given.
    """
    out = sys.stdout if out is None else out
    commit = this_commit() if commit is None else commit
    machine = this_machine() if machine is None else machine
    when = datetime.now(UTC).replace(microsecond=0)

    print("\n\n".join(ledger.table() for ledger in ledgers), file=out)
    if args.write:
        page, data = write([x.measured(when, commit, machine) for x in ledgers], results)
        print(f"\nWritten to {results.name}/{page.name} and {data.name}", file=out)
    if args.json:
        print(last_line(ledgers), file=out, flush=True)
    missed = any(not figure.ok for ledger in ledgers for figure in ledger.figures)
    return 1 if missed and args.strict else 0


def last_line(ledgers: Sequence[Ledger]) -> str:
    """Return the figures as the one line of JSON that scripts read."""
    figures: list[dict[str, object]] = []
    for ledger in ledgers:
        section = {"section": ledger.section} if ledger.section else {}
        figures += [
            {**section, "name": f.name, "value": f.value, "bound": f.bound, "ok": f.ok}
            for f in ledger.figures
        ]
    return json.dumps({"bench": ledgers[0].name, "figures": figures})


def parser(description: str | None, *, runs: int = 5) -> argparse.ArgumentParser:
    """Return the options that every benchmark has; a benchmark may add its own.

    Args:
        description: The benchmark's docstring, shown by `--help`.
        runs: How often it measures unless `--runs` says otherwise.
    """
    options = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--json", action="store_true", help="end with one line of JSON")
    options.add_argument("--strict", action="store_true", help="exit 1 if a bound is missed")
    options.add_argument(
        "--runs", type=_at_least_one, default=runs, help=f"measure so often ({runs})"
    )
    options.add_argument(
        "--no-write",
        dest="write",
        action="store_false",
        help="leave bench/results/ as it is: for trying things",
    )
    return options


def _at_least_one(text: str) -> int:
    count = int(text)
    if count < 1:
        raise argparse.ArgumentTypeError("must be 1 or more")
    return count
