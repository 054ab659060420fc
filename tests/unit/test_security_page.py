"""SECURITY.md names tests that exist."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
NAMED = sorted(set(re.findall(r"`(tests/[\w/]+\.py(?:::\w+)?)`", PAGE)))
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


@cache
def names_in(path: Path) -> frozenset[str]:
    """Return the names of a file's tests, without importing it."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    functions = (node for node in ast.walk(tree) if isinstance(node, FUNCTIONS))
    return frozenset(node.name for node in functions if node.name.startswith("test_"))


def test_the_page_names_tests() -> None:
    assert len(NAMED) > 30


@pytest.mark.parametrize("name", NAMED)
def test_a_named_test_exists(name: str) -> None:
    file, _, test = name.partition("::")
    found = names_in(ROOT / file)
    assert test in found if test else found


def test_every_threat_names_what_shows_that_it_is_stopped() -> None:
    for line in PAGE.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split(" | ")]
        if line.startswith("| ") and cells[0] != "what they can try":
            assert len(cells) == 3, line
            assert "tests/" in cells[2] or cells[2] == "not yet", line
