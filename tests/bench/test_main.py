"""Finding a benchmark by its name."""

from pathlib import Path

import pytest

from bench.__main__ import benchmarks, main


def test_a_benchmark_is_a_module_with_a_main_and_is_listed_by_its_first_line(
    tmp_path: Path,
) -> None:
    (tmp_path / "cold_one.py").write_text(
        '"""Asks one thing.\n\nAnd more."""\nimport no_such_package\ndef main() -> int: ...\n',
        encoding="utf-8",
    )
    (tmp_path / "shared.py").write_text('"""A part."""\n', encoding="utf-8")
    (tmp_path / "__main__.py").write_text("def main() -> int: ...\n", encoding="utf-8")
    assert list(benchmarks(tmp_path)) == [("cold-one", "Asks one thing.")]


def test_an_unknown_name_is_an_error_that_says_what_is_known(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["no_such"]) == 2
    assert "no benchmark is named no-such; known: " in capsys.readouterr().err


def test_without_a_name_the_benchmarks_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    listed = capsys.readouterr().out
    assert all(name in listed for name, _ in benchmarks())
