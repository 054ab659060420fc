"""The kept inputs break nothing, and every target has some; what fuzzing found once stays here."""

import pytest

from fuzz.__main__ import CORPUS, Run, page
from fuzz.targets import TARGETS

INPUTS = sorted(path for path in CORPUS.glob("*/*") if path.is_file())


@pytest.mark.parametrize("name", TARGETS)
def test_every_kept_input_is_parsed_or_refused(name: str) -> None:
    inputs = [path for path in INPUTS if path.parent.name == name]
    assert inputs, f"{CORPUS}/{name} is empty"
    for path in inputs:
        try:
            TARGETS[name](path.read_bytes())
        except Exception as error:
            error.add_note(f"on {path}")
            raise


@pytest.mark.parametrize("name", TARGETS)
@pytest.mark.parametrize("data", [b"", b"\x00", b"\xff" * 64, b"\n" * 9])
def test_what_is_hardly_an_input_is_parsed_or_refused(name: str, data: bytes) -> None:
    TARGETS[name](data)


def test_no_kept_input_is_of_a_target_that_is_gone() -> None:
    assert {path.parent.name for path in INPUTS} == set(TARGETS)


def test_the_page_sums_up_the_runs_of_each_target() -> None:
    def run(executions: int, *, broke: bool = False) -> Run:
        return Run(
            target="wire",
            day="2026-01-02",
            commit="abc",
            executions=executions,
            seconds=2,
            broke=broke,
        )

    text = page([run(1000), run(500, broke=True)], notes="## Found\n")
    assert "| wire | 1,500 | 4 | 1 | abc |" in text
    assert "1,500 executions in all" in text
    assert text.endswith("## Found\n")
