"""core decides and does no I/O: whatever it imports is on this short list.

The contract in pyproject.toml forbids what was thought of; this list allows what was agreed on.
"""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import shoal.core

CORE = Path(shoal.core.__file__).parent

ALLOWED = frozenset(
    {
        "shoal.core",
        # Pure parts of the standard library: no clock, no randomness, no file, no socket.
        "abc",
        "base64",
        "binascii",
        "bisect",
        "collections",
        "contextlib",
        "dataclasses",
        "enum",
        "functools",
        "hashlib",
        "heapq",
        "hmac",
        "ipaddress",
        "itertools",
        "json",
        "math",
        "operator",
        "re",
        "struct",
        "sys.intern",
        "types",
        "typing",
        "urllib.parse",
    }
)


def imports(tree: ast.AST) -> Iterator[str]:
    """Yield the modules that run when a module is imported or its functions are called.

    What stands under `if TYPE_CHECKING:` does not run: that is how core names the type of a
    random generator that it is given.
    """
    match tree:
        case ast.If(test=ast.Name(id="TYPE_CHECKING"), orelse=runs):
            children: Iterator[ast.AST] = iter(runs)
        case ast.Import(names=names):
            yield from (alias.name for alias in names)
            return
        case ast.ImportFrom(module="sys", names=names):  # of this one, name by name
            yield from (f"sys.{alias.name}" for alias in names)
            return
        case ast.ImportFrom(module=str(module)):
            yield module
            return
        case _:
            children = ast.iter_child_nodes(tree)
    for child in children:
        yield from imports(child)


def is_allowed(module: str, allowed: frozenset[str] = ALLOWED) -> bool:
    """Return whether a module, or a package that it is in, is on the list."""
    parts = module.split(".")
    return any(".".join(parts[:end]) in allowed for end in range(1, len(parts) + 1))


def test_core_imports_only_itself_and_pure_parts_of_the_standard_library() -> None:
    strays = [
        f"{path.relative_to(CORE)} imports {module}"
        for path in sorted(CORE.rglob("*.py"))
        for module in imports(ast.parse(path.read_text(encoding="utf-8")))
        if not is_allowed(module)
    ]
    assert strays == []


def test_the_list_allows_no_third_party_package() -> None:
    assert {name.partition(".")[0] for name in ALLOWED} <= sys.stdlib_module_names | {"shoal"}


def test_an_import_inside_a_function_is_seen() -> None:
    assert list(imports(ast.parse("def f():\n    import socket\n"))) == ["socket"]


def test_an_import_for_types_alone_does_not_count() -> None:
    text = "if TYPE_CHECKING:\n    from random import Random\nelse:\n    import time\n"
    assert list(imports(ast.parse(text))) == ["time"]


def test_allowing_a_module_does_not_allow_its_parent() -> None:
    assert is_allowed("urllib.parse")
    assert not is_allowed("urllib")
    assert not is_allowed("urllib.request")
