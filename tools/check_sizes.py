"""Fails if a source file is too long to be read in one sitting.

A file over 600 lines fails; one over 400 is named, so that it is cut before it has to be.
"""

import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent
FOLDERS = ("src", "tests", "tools", "bench", ".ci")
FILES = ("dev",)
SUFFIXES = frozenset({".py", ".sh", ".js", ".css", ".html", ""})

LONG = 400
TOO_LONG = 600


def source_files(root: Path) -> Iterator[Path]:
    """Yield every file of `root` that a person has written and has to read."""
    for name in FILES:
        if (root / name).is_file():
            yield root / name
    for folder in FOLDERS:
        for path in sorted((root / folder).rglob("*")):
            hidden = any(part == "__pycache__" for part in path.parts)
            if path.is_file() and path.suffix in SUFFIXES and not hidden:
                yield path


def lengths(root: Path) -> dict[str, int]:
    """Return the files of more than `LONG` lines, longest first, by their path under `root`."""
    counted = {
        path.relative_to(root).as_posix(): path.read_bytes().count(b"\n")
        for path in source_files(root)
    }
    return {
        name: count
        for name, count in sorted(counted.items(), key=lambda item: (-item[1], item[0]))
        if count > LONG
    }


def main(root: Path = ROOT) -> int:
    """Print what is long; return 1 if anything is too long."""
    found = lengths(root)
    for name, count in found.items():
        if count > TOO_LONG:
            print(f"{name}: {count} lines; the most is {TOO_LONG}. Cut it by responsibility.")
        else:
            print(f"note: {name} has {count} lines, and may grow to {TOO_LONG}")
    return 1 if any(count > TOO_LONG for count in found.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
