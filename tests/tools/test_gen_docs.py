"""The generated pages are what the source says, and a difference is noticed."""

from pathlib import Path

import pytest

from tools import gen_docs


def test_the_pages_in_the_tree_are_up_to_date() -> None:
    assert list(gen_docs.differences(gen_docs.ROOT)) == []


def test_a_page_that_was_changed_by_hand_fails_the_check(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert gen_docs.main([], root=tmp_path) == 0
    assert gen_docs.main(["--check"], root=tmp_path) == 0
    page = tmp_path / "docs" / "metrics.md"
    page.write_text(page.read_text(encoding="utf-8") + "more\n", encoding="utf-8")
    assert gen_docs.main(["--check"], root=tmp_path) == 1
    assert "-more" in capsys.readouterr().out


def test_a_page_that_is_missing_fails_the_check(tmp_path: Path) -> None:
    assert gen_docs.main(["--check"], root=tmp_path) == 1
