"""What a benchmark measured, as it is kept: JSON to read again, and a page for people.

Where a benchmark measures more than one configuration, its page has a section for each, and what
is measured anew takes the place of its own section alone.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bench.figure import Figure, number
from bench.machine import Commit, Machine


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One measurement: the figures, and all that a reader needs to judge them.

    Attributes:
        bench: the benchmark's name.
        question: what it answers.
        section: the configuration that was measured; "" where there is only one.
        date: when, ISO 8601.
        commit: which code.
        command: what to type to do it again.
        machine: on what.
        figures: in the order in which they are shown.
        notes: paragraphs.
        summary: names of the figures that the table of all sections shows.
        details: whatever else a later reader may want of each run; only in the JSON.
    """

    bench: str
    question: str
    section: str
    date: str
    commit: Commit
    command: str
    machine: Machine
    figures: tuple[Figure, ...]
    notes: tuple[str, ...]
    summary: tuple[str, ...] = ()
    details: tuple[Mapping[str, Any], ...] = ()

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> "Measured":
        """Return what `document` made."""
        return cls(
            bench=document["bench"],
            question=document["question"],
            section=document.get("section", ""),
            date=document["date"],
            commit=Commit(**document["commit"]),
            command=document["command"],
            machine=Machine(**document["machine"]),
            figures=tuple(
                Figure(**{**figure, "runs": tuple(figure["runs"])})
                for figure in document["figures"]
            ),
            notes=tuple(document["notes"]),
            summary=tuple(document.get("summary", ())),
            details=tuple(document.get("details", ())),
        )

    def document(self) -> dict[str, Any]:
        """Return it as JSON holds it."""
        document = asdict(self)
        for name in ("section", "summary", "details"):
            if not document[name]:
                del document[name]
        return document


def write(measured: Sequence[Measured], results: Path) -> tuple[Path, Path]:
    """Write measurements of one benchmark; return the page and the data.

    Sections that were measured before and not now stay as they are.
    """
    name = measured[0].bench
    page, data = results / f"{name}.md", results / f"{name}.json"
    results.mkdir(parents=True, exist_ok=True)
    if not measured[0].section:
        (single,) = measured
        data.write_text(_json(single.document()), encoding="utf-8")
        page.write_text(single_page(single), encoding="utf-8")
        return page, data
    kept = {old.section: old for old in read_sections(data)}
    kept.update((new.section, new) for new in measured)
    sections = list(kept.values())
    documents = [section.document() for section in sections]
    data.write_text(_json({"bench": name, "sections": documents}), encoding="utf-8")
    page.write_text(sections_page(sections), encoding="utf-8")
    return page, data


def read_sections(data: Path) -> list[Measured]:
    """Return the sections that a file holds, none if it is not there."""
    if not data.exists():
        return []
    document = json.loads(data.read_text(encoding="utf-8"))
    return [Measured.from_document(section) for section in document.get("sections", ())]


def single_page(measured: Measured) -> str:
    """Return the page of a benchmark that has one configuration."""
    lines = [f"# {measured.bench}", ""]
    if measured.question:
        lines += [measured.question, ""]
    return _text([*lines, *_body(measured, level="##")])


def sections_page(sections: Sequence[Measured]) -> str:
    """Return the page of a benchmark that has several: a table of all, and a section for each."""
    first = sections[0]
    lines = [f"# {first.bench}", ""]
    if first.question:
        lines += [first.question, ""]
    names = list(dict.fromkeys(name for section in sections for name in section.summary))
    if names:
        lines.append(f"| configuration | {' | '.join(names)} | commit |")
        lines.append("|---" * (len(names) + 2) + "|")
        for section in sections:
            cells = [_summary_cell(section, name) for name in names]
            lines.append(f"| {' | '.join([section.section, *cells, section.commit.id])} |")
        lines.append("")
    for section in sections:
        lines += [f"## {section.section}", "", *_body(section, level="###")]
    return _text(lines)


def table(figures: Sequence[Figure]) -> list[tuple[str, str, str, str, str]]:
    """Return a row for each figure: name, median, worst, bound and verdict."""
    return [
        (
            figure.name,
            number(figure.value, figure.unit),
            number(figure.worst, figure.unit) if len(figure.runs) > 1 else "",
            f"{figure.wanted} {number(figure.bound, figure.unit)}"
            if figure.bound is not None
            else "",
            figure.verdict,
        )
        for figure in figures
    ]


def _summary_cell(measured: Measured, name: str) -> str:
    for figure in measured.figures:
        if figure.name == name:
            text = number(figure.value, figure.unit)
            if figure.bound is None:
                return text
            return f"{text} ({figure.wanted} {number(figure.bound, '')}: {figure.verdict})"
    return ""


def _body(measured: Measured, *, level: str) -> list[str]:
    figures = measured.figures
    lines = ["| figure | median | worst | bound | |", "|---|---|---|---|---|"]
    lines += ["| " + " | ".join(row) + " |" for row in table(figures)]
    lines.append("")
    for paragraph in measured.notes:
        lines += [paragraph, ""]
    lines += [f"- `{figure.name}`: {figure.note}" for figure in figures if figure.note]
    lines += ["", f"{level} Every run", ""]
    lines += [
        f"- `{figure.name}`" + (f" ({figure.unit})" if figure.unit else "") + ": "
        f"{', '.join(number(run, '') for run in figure.runs)}"
        for figure in figures
    ]
    return [
        *lines,
        "",
        f"{level} How it was measured",
        "",
        f"- date: {measured.date}",
        f"- commit: {measured.commit}",
        f"- command: `{measured.command}`",
        f"- machine: {measured.machine}",
        "",
    ]


def _text(lines: Sequence[str]) -> str:
    return "\n".join(lines).replace("\n\n\n", "\n\n")


def _json(document: Mapping[str, Any]) -> str:
    return json.dumps(document, indent=2) + "\n"
