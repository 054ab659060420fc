"""The doctor's findings as lines for a person, or as JSON."""

import json
from collections.abc import Iterator, Sequence
from textwrap import indent

from shoal.cli.doctoring.checks import Check, State

OK, MISSED, LATER = 0, 1, 69
_MARKS = {State.OK: "ok     ", State.NOTE: "note   ", State.PROBLEM: "MISSING"}


def exit_code(checks: Sequence[Check]) -> int:
    """Return 0 for nothing missing, 1 for a step that was missed, 69 if it may pass by itself."""
    problems = [check for check in checks if check.state is State.PROBLEM]
    if not problems:
        return OK
    return LATER if all(check.passes for check in problems) else MISSED


def lines(checks: Sequence[Check]) -> Iterator[str]:
    """Yield what a person reads; a document is printed once, below the first line it mends."""
    shown: set[str] = set()
    for check in checks:
        yield f"{_MARKS[check.state]}  {check.name}: {check.message}"
        if check.document and check.document not in shown:
            shown.add(check.document)
            yield indent(check.document, "         ")
    count = sum(check.state is State.PROBLEM for check in checks)
    yield "nothing is missing" if not count else f"{count} to mend"


def as_json(checks: Sequence[Check]) -> str:
    """Return what a program reads."""
    found = [
        {
            "name": check.name,
            "state": check.state.value,
            "message": check.message,
            "mistake": check.mistake or None,
            "step": check.step or None,
            "document": json.loads(check.document) if check.document else None,
        }
        for check in checks
    ]
    return json.dumps({"ok": exit_code(checks) == OK, "checks": found}, indent=2)
