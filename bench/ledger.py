"""The book a benchmark writes its figures into: beside their bounds, with how they were measured.

A benchmark is a module of this folder with a `main() -> int`:

    def main() -> int:
        args = parser(__doc__, runs=5).parse_args()
        ledger = Ledger("warm", question="Does a warm store keep up with nginx?")
        ledger.add(Figure.at_least("of_nginx", [0.91, 0.93], bound=0.8, unit="x nginx"))
        return ledger.finish(args)

`./dev bench warm` runs it. The figure is the median of its runs and is judged by that; a worst run
beyond the bound is shown beside it, and every run is in `bench/results/warm.json`.
"""

import argparse
import json
import statistics
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, Self, TextIO

from bench.machine import Commit, Machine, this_commit, this_machine

RESULTS = Path(__file__).parent / "results"

Wanted = Literal["at most", "at least", "shown"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One measured number: the median of its runs, beside the bound it has to keep.

    Make it with `at_most`, `at_least` or `shown`, which see to `value` and `ok`.

    Attributes:
        name: Says what was measured, in snake_case, as in the issue that asks for it.
        value: The median of `runs`, in `unit`.
        worst: The run furthest on the wrong side, in `unit`.
        bound: What `value` is held to, in `unit`; None where the figure is only shown.
        ok: Whether `value` keeps `bound`; True where there is none to miss.
        unit: For example "x ideal", "MiB" or "s"; "" for a plain number.
        wanted: Which side of the bound is the right one.
        runs: Every run, in order of time, in `unit`.
        note: What a reader has to know to read the number rightly; may be empty.
    """

    name: str
    value: float
    worst: float
    bound: float | None
    ok: bool
    unit: str
    wanted: Wanted
    runs: tuple[float, ...]
    note: str = ""

    @classmethod
    def at_most(
        cls, name: str, runs: Sequence[float], *, bound: float, unit: str = "", note: str = ""
    ) -> Self:
        """Make a figure whose median may not lie above `bound`.

        Raises:
            ValueError: There is no run.
        """
        value, worst = _median(name, runs), max(runs)
        return cls(
            name=name,
            value=value,
            worst=worst,
            bound=bound,
            ok=value <= bound,
            unit=unit,
            wanted="at most",
            runs=tuple(runs),
            note=note,
        )

    @classmethod
    def at_least(
        cls, name: str, runs: Sequence[float], *, bound: float, unit: str = "", note: str = ""
    ) -> Self:
        """Make a figure whose median may not lie below `bound`.

        Raises:
            ValueError: There is no run.
        """
        value, worst = _median(name, runs), min(runs)
        return cls(
            name=name,
            value=value,
            worst=worst,
            bound=bound,
            ok=value >= bound,
            unit=unit,
            wanted="at least",
            runs=tuple(runs),
            note=note,
        )

    @classmethod
    def shown(cls, name: str, runs: Sequence[float], *, unit: str = "", note: str = "") -> Self:
        """Make a figure that has no bound: something to compare with. Less counts as better.

        Raises:
            ValueError: There is no run.
        """
        value = _median(name, runs)
        return cls(
            name=name,
            value=value,
            worst=max(runs),
            bound=None,
            ok=True,
            unit=unit,
            wanted="shown",
            runs=tuple(runs),
            note=note,
        )

    @property
    def worst_ok(self) -> bool:
        """Whether the worst run keeps the bound too."""
        if self.bound is None:
            return True
        return self.worst <= self.bound if self.wanted == "at most" else self.worst >= self.bound

    @property
    def verdict(self) -> str:
        """The word that stands beside the bound."""
        if self.bound is None:
            return ""
        if not self.ok:
            return "MISSED"
        return "ok" if self.worst_ok else "ok, worst run missed"


@dataclass(slots=True)
class Ledger:
    """Collects a benchmark's figures; `finish` shows them and writes them down.

    Attributes:
        name: The benchmark's name, as `./dev bench` takes it.
        question: What it answers, in one sentence.
        command: What to type to run it again. By default what was typed.
        notes: Paragraphs for the results page: set-up, what stands beside the figures.
    """

    name: str
    question: str = ""
    command: str = ""
    notes: list[str] = field(default_factory=list)
    figures: list[Figure] = field(default_factory=list)

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
        """Print the figures, write them to `results`, and say how the process should exit.

        Args:
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

        print(self._table(), file=out)
        if args.write:
            results.mkdir(parents=True, exist_ok=True)
            page, data = results / f"{self.name}.md", results / f"{self.name}.json"
            page.write_text(self._page(when, commit, machine), encoding="utf-8")
            data.write_text(self._data(when, commit, machine), encoding="utf-8")
            print(f"\nWritten to {results.name}/{page.name} and {data.name}", file=out)
        if args.json:
            print(self.last_line(), file=out, flush=True)
        missed = any(not figure.ok for figure in self.figures)
        return 1 if missed and args.strict else 0

    def last_line(self) -> str:
        """Return the figures as the one line of JSON that scripts read."""
        figures = [
            {"name": f.name, "value": f.value, "bound": f.bound, "ok": f.ok} for f in self.figures
        ]
        return json.dumps({"bench": self.name, "figures": figures})

    def _rows(self) -> list[tuple[str, str, str, str, str]]:
        return [
            (
                figure.name,
                _number(figure.value, figure.unit),
                _number(figure.worst, figure.unit) if len(figure.runs) > 1 else "",
                f"{figure.wanted} {_number(figure.bound, figure.unit)}"
                if figure.bound is not None
                else "",
                figure.verdict,
            )
            for figure in self.figures
        ]

    def _table(self) -> str:
        rows = [("figure", "median", "worst", "bound", ""), *self._rows()]
        widths = [max(len(row[column]) for row in rows) for column in range(5)]
        lines = [
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
            for row in rows
        ]
        return "\n".join([f"{self.name}: {self.question}".rstrip(": "), *lines])

    def _page(self, when: datetime, commit: Commit, machine: Machine) -> str:
        lines = [f"# {self.name}", ""]
        if self.question:
            lines += [self.question, ""]
        lines += ["| figure | median | worst | bound | |", "|---|---|---|---|---|"]
        lines += ["| " + " | ".join(row) + " |" for row in self._rows()]
        lines.append("")
        for paragraph in self.notes:
            lines += [paragraph, ""]
        lines += [f"- `{figure.name}`: {figure.note}" for figure in self.figures if figure.note]
        lines += ["", "## Every run", ""]
        lines += [
            f"- `{figure.name}`" + (f" ({figure.unit})" if figure.unit else "") + ": "
            f"{', '.join(_number(run, '') for run in figure.runs)}"
            for figure in self.figures
        ]
        lines += [
            "",
            "## How it was measured",
            "",
            f"- date: {when.isoformat()}",
            f"- commit: {commit}",
            f"- command: `{self.command}`",
            f"- machine: {machine}",
            "",
        ]
        return "\n".join(lines).replace("\n\n\n", "\n\n")

    def _data(self, when: datetime, commit: Commit, machine: Machine) -> str:
        document = {
            "bench": self.name,
            "question": self.question,
            "date": when.isoformat(),
            "commit": asdict(commit),
            "command": self.command,
            "machine": asdict(machine),
            "figures": [asdict(figure) for figure in self.figures],
            "notes": self.notes,
        }
        return json.dumps(document, indent=2) + "\n"


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


def _median(name: str, runs: Sequence[float]) -> float:
    if not runs:
        raise ValueError(f"{name} was never measured")
    return statistics.median(runs)


def _number(value: float, unit: str) -> str:
    # Three digits that count: more would claim a precision that five runs do not have.
    text = f"{value:.0f}" if abs(value) >= 1000 else f"{value:.3g}"
    return f"{text} {unit}".rstrip()
