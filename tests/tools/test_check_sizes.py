"""The limit to the length of a file."""

from pathlib import Path

import pytest

from tools.check_sizes import LONG, TOO_LONG, main


@pytest.mark.parametrize(
    ("lines", "code", "said"),
    [
        (LONG, 0, ""),
        (LONG + 1, 0, "note: src/long.py has 401 lines, and may grow to 600\n"),
        (TOO_LONG, 0, "note: src/long.py has 600 lines, and may grow to 600\n"),
        (
            TOO_LONG + 1,
            1,
            "src/long.py: 601 lines; the most is 600. Cut it by responsibility.\n",
        ),
    ],
)
def test_a_file_over_four_hundred_lines_is_named_and_one_over_six_hundred_fails(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], lines: int, code: int, said: str
) -> None:
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "long.py").write_text("\n" * lines, encoding="utf-8")
    assert main(tmp_path) == code
    assert capsys.readouterr().out == said


@pytest.mark.parametrize("name", ["dev", ".ci/run", "tests/unit/test_a.py", "bench/a.py"])
def test_every_folder_that_people_write_in_counts(tmp_path: Path, name: str) -> None:
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / name).write_text("\n" * 601, encoding="utf-8")
    assert main(tmp_path) == 1


def test_what_nobody_writes_does_not_count(tmp_path: Path) -> None:
    for name in ("src/__pycache__/a.py", "bench/results/warm.json"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("\n" * 601, encoding="utf-8")
    assert main(tmp_path) == 0
