"""Findings as lines, as JSON, and as an exit code."""

import json

from shoal.cli.doctoring.checks import Check, State
from shoal.cli.doctoring.telling import as_json, exit_code, lines

FINE = Check(name="credentials", state=State.OK, message="the cloud accepts them")
NOTE = Check(name="instance", state=State.NOTE, message="Step 1: unknown.", mistake="x")


def _problem(*, passes: bool = False, document: str = "") -> Check:
    return Check(
        name="instance",
        state=State.PROBLEM,
        message="Step 2: no.",
        mistake="y",
        step="Step 2",
        passes=passes,
        document=document,
    )


def test_the_code_says_whether_waiting_helps() -> None:
    assert exit_code([FINE, NOTE]) == 0
    assert exit_code([FINE, _problem(passes=True)]) == 69
    assert exit_code([_problem(passes=True), _problem()]) == 1


def test_a_document_is_printed_once() -> None:
    found = list(lines([_problem(document="{}"), _problem(document="{}")]))
    assert found == [
        "MISSING  instance: Step 2: no.",
        "         {}",
        "MISSING  instance: Step 2: no.",
        "2 to mend",
    ]


def test_json_has_the_same() -> None:
    told = json.loads(as_json([FINE, _problem(document='{"Version": "1"}')]))
    assert told["ok"] is False
    assert told["checks"][0] == {
        "name": "credentials",
        "state": "ok",
        "message": "the cloud accepts them",
        "mistake": None,
        "step": None,
        "document": None,
    }
    assert told["checks"][1]["document"] == {"Version": "1"}
