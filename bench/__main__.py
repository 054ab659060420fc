"""Runs one benchmark by name, or lists them: `./dev bench` comes here."""

import ast
import importlib
import sys
from collections.abc import Iterator
from pathlib import Path

HERE = Path(__file__).parent


def benchmarks(folder: Path = HERE) -> Iterator[tuple[str, str]]:
    """Yield each benchmark's name and its docstring's first line, in order of name.

    Read from the text, not by importing: listing must not need what a benchmark needs.
    """
    for path in sorted(folder.glob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"), filename=str(path))
        # What has no main() is a part that benchmarks share.
        is_benchmark = any(
            isinstance(node, ast.FunctionDef) and node.name == "main" for node in tree.body
        )
        if is_benchmark and not path.name.startswith("__"):
            doc = ast.get_docstring(tree) or ""
            yield path.stem.replace("_", "-"), doc.partition("\n")[0]


def main(arguments: list[str]) -> int:
    """Run the named benchmark with the arguments after its name; return its exit code."""
    known = dict(benchmarks())
    name = arguments[0].replace("_", "-") if arguments else ""
    if not name or name in ("-h", "--help", "help"):
        width = max((len(known_name) for known_name in known), default=0)
        print("./dev bench NAME [--json] [--strict] [--runs N] [--no-write]\n")
        for known_name, line in known.items():
            print(f"  {known_name.ljust(width)}  {line}")
        return 0
    if name not in known:
        names = ", ".join(known) or "there is none yet"
        print(f"bench: no benchmark is named {name}; known: {names}", file=sys.stderr)
        return 2
    module = importlib.import_module(f"bench.{name.replace('-', '_')}")
    sys.argv = [f"./dev bench {name}", *arguments[1:]]
    code: int = module.main()
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
