"""Fails if a source file has no test file of its own.

src/shoal/core/oci/routes.py is tested by tests/unit/core/oci/test_routes.py. Whoever changes the
one then knows where the other is, and a file that nobody tests is seen at once.

A file that only declares (constants, protocols, dataclasses without a method of their own) has
nothing to run and needs none. What is tested otherwise stands in `EXCEPTIONS` with where; an
exception that is no longer needed fails too, so that the list stays short.
"""

import ast
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

ROOT = Path(__file__).parent.parent

# A file of src/shoal, or a folder with "/" at its end -> why it has no unit test of its own.
EXCEPTIONS: Mapping[str, str] = {
    "core/errors.py": "classes that keep what they are given: who raises them is tested",
    "testing/chaos/": "what breaks, pulls and samples needs the bed: tests/bed/test_chaos runs it",
    "testing/bed/": "needs root and network namespaces: every test in tests/bed runs it",
}


def mirror_of(source: str) -> str:
    """Return the test file of a source file, both relative to their root.

    >>> mirror_of("core/oci/routes.py")
    'core/oci/test_routes.py'
    """
    folder, _, name = source.rpartition("/")
    return f"{folder}/test_{name}" if folder else f"test_{name}"


def only_declares(text: str) -> bool:
    """Return whether no function of a module does anything."""
    functions = (
        node
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    )
    # A docstring, an ellipsis and `pass` do nothing.
    return all(
        isinstance(statement, ast.Pass)
        or (isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant))
        for function in functions
        for statement in function.body
    )


def unmirrored(root: Path) -> Iterator[str]:
    """Yield the source files under src/shoal that lack their test file, relative to it."""
    sources, tests = root / "src" / "shoal", root / "tests" / "unit"
    for path in sorted(sources.rglob("*.py")):
        name = path.relative_to(sources).as_posix()
        if path.name in ("__init__.py", "__main__.py"):
            continue
        if (tests / mirror_of(name)).is_file():
            continue
        if not only_declares(path.read_text(encoding="utf-8")):
            yield name


def problems(root: Path, exceptions: Mapping[str, str]) -> Iterator[str]:
    """Yield one line for each file without a test, and for each exception without a use."""
    used = set()
    for name in unmirrored(root):
        excused = [
            pattern
            for pattern in exceptions
            if name == pattern or (pattern.endswith("/") and name.startswith(pattern))
        ]
        used.update(excused)
        if not excused:
            yield f"src/shoal/{name} has no tests/unit/{mirror_of(name)}"
    for pattern in exceptions:
        if pattern not in used:
            yield f"the exception for {pattern} is no longer needed: take it out of EXCEPTIONS"


def main(root: Path = ROOT, exceptions: Mapping[str, str] = EXCEPTIONS) -> int:
    """Print the problems; return 1 if there is one."""
    found = list(problems(root, exceptions))
    for line in found:
        print(line)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
