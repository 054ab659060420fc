"""The table of values in docs/install.md, made from the comments in values.yaml."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from chart.rendering import CHART

PAGE = Path(__file__).parents[2] / "docs" / "install.md"
BEGIN, END = "<!-- values: begin -->\n", "<!-- values: end -->\n"
# One cell for each: what is in them is Kubernetes' own.
_WHOLE = re.compile(
    r"resources\.\w+|tolerations|controller\.tolerations|\w+\.labels|\w*\.?nodeSelector"
)
_KEY = re.compile(r"^(?P<indent> *)(?P<key>\w+):")


def _leaves(values: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        name = f"{prefix}{key}"
        if isinstance(value, dict) and value and not _WHOLE.fullmatch(name):
            yield from _leaves(value, f"{name}.")
        else:
            yield name, value


def _comments(text: str) -> dict[str, str]:
    """Return the comment before each key; a section's, where a key has none of its own."""
    found: dict[str, str] = {}
    path: list[tuple[int, str]] = []
    lines: list[str] = []
    for line in text.splitlines():
        if match := _KEY.match(line):
            indent = len(match["indent"])
            path = [part for part in path if part[0] < indent]
            section = ".".join(key for _, key in path)
            path.append((indent, match["key"]))
            words = " ".join(part for part in lines if not part.startswith(("-", "{")))
            found[".".join(key for _, key in path)] = words or found.get(section, "")
            lines = []
        elif line.strip().startswith("# "):
            lines.append(line.strip()[2:])
        elif not line.strip():
            lines = []
    return found


def table() -> str:
    """Return the rows, with a head."""
    text = (CHART / "values.yaml").read_text(encoding="utf-8")
    comments = _comments(text)
    rows = ["| value | default | meaning |", "|---|---|---|"]
    for name, default in _leaves(yaml.safe_load(text)):
        shown = "" if default in ("", [], {}) else f"`{json.dumps(default)}`"
        rows.append(f"| `{name}` | {shown} | {comments[name]} |")
    return "\n".join(rows) + "\n"


if __name__ == "__main__":
    page = PAGE.read_text(encoding="utf-8")
    before, rest = page.split(BEGIN)
    PAGE.write_text(before + BEGIN + table() + END + rest.split(END)[1], encoding="utf-8")
