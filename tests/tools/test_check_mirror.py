"""Every source file has its test file."""

from pathlib import Path

import pytest

from tools.check_mirror import mirror_of, only_declares, problems


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A tree in which core/blob.py is tested and core/errors.py is not."""
    for name in (
        "src/shoal/__init__.py",
        "src/shoal/__main__.py",
        "src/shoal/core/blob.py",
        "src/shoal/core/errors.py",
        "tests/unit/core/test_blob.py",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("def act() -> int:\n    return 1\n", encoding="utf-8")
    return tmp_path


def test_the_mirror_of_a_file_lies_at_the_same_place_under_the_tests() -> None:
    assert mirror_of("core/oci/routes.py") == "core/oci/test_routes.py"
    assert mirror_of("version.py") == "test_version.py"


def test_a_file_without_its_test_is_named_with_the_test_it_lacks(tree: Path) -> None:
    assert list(problems(tree, {})) == [
        "src/shoal/core/errors.py has no tests/unit/core/test_errors.py"
    ]


@pytest.mark.parametrize("pattern", ["core/errors.py", "core/"])
def test_a_file_or_its_folder_can_be_excused(tree: Path, pattern: str) -> None:
    assert list(problems(tree, {pattern: "declarations only"})) == []


@pytest.mark.parametrize("pattern", ["core/blob.py", "core/gone.py", "adapters/", "core/err"])
def test_an_exception_that_is_not_needed_is_a_problem(tree: Path, pattern: str) -> None:
    said = list(problems(tree, {"core/errors.py": "declarations only", pattern: "once true"}))
    assert said == [f"the exception for {pattern} is no longer needed: take it out of EXCEPTIONS"]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "LIMIT = 4 * 1024\n",
        "class Held(Protocol):\n    async def get(self) -> int:\n        'Do.'\n        ...\n",
        "@dataclass\nclass Fact:\n    size_bytes: int = 0\n",
    ],
)
def test_a_file_that_only_declares_needs_no_test(tree: Path, text: str) -> None:
    (tree / "src" / "shoal" / "core" / "errors.py").write_text(text, encoding="utf-8")
    assert list(problems(tree, {})) == []


@pytest.mark.parametrize(
    "text",
    [
        "def f() -> int:\n    return 1\n",
        "class A:\n    @property\n    def size(self) -> int:\n        'Doc.'\n        return 1\n",
        "async def f() -> None:\n    await g()\n",
    ],
)
def test_a_file_with_one_function_that_does_something_needs_one(text: str) -> None:
    assert not only_declares(text)
