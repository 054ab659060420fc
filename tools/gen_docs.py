"""Writes docs/settings.md and docs/metrics.md from the source; `--check` fails if they differ."""

import argparse
import difflib
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from prometheus_client import CollectorRegistry

from shoal.adapters.telemetry.metrics import Declared, Metrics
from shoal.agent.settings_docs import settings_markdown

ROOT = Path(__file__).parent.parent

METRICS_INTRODUCTION = """\
# Metrics of `shoal agent`

<!-- Written by tools/gen_docs.py from src/shoal/adapters/telemetry/metrics.py: change it there. -->

The exporter serves them at `/metrics` (setting `exporter.port`, 65003), in the text formats of
Prometheus and OpenMetrics. No label holds a digest, a repository, a peer or a path.

| metric | type | labels | meaning |
|---|---|---|---|
"""


def metrics_markdown(declared: Sequence[Declared]) -> str:
    """Return docs/metrics.md."""
    rows = [
        f"| `{metric.name}` | {metric.kind} | {_labels(metric)} | {metric.help} |"
        for metric in declared
    ]
    return METRICS_INTRODUCTION + "\n".join(rows) + "\n"


def _labels(metric: Declared) -> str:
    return "; ".join(
        f"`{label}`" + (": " + ", ".join(f"`{value}`" for value in values) if values else "")
        for label, values in metric.labels.items()
    )


def documents() -> dict[str, str]:
    """Return the text of every generated document by its path below the root."""
    return {
        "docs/settings.md": settings_markdown(),
        "docs/metrics.md": metrics_markdown(Metrics(CollectorRegistry()).declared),
    }


def differences(root: Path) -> Iterator[str]:
    """Yield a unified diff for each document that is not what the source says."""
    for name, wanted in documents().items():
        path = root / name
        found = path.read_text(encoding="utf-8") if path.is_file() else ""
        if found != wanted:
            yield "".join(
                difflib.unified_diff(
                    found.splitlines(keepends=True), wanted.splitlines(keepends=True), name, name
                )
            )


def main(arguments: Sequence[str] | None = None, *, root: Path = ROOT) -> int:
    """Write the documents, or with `--check` print how they differ and return 1 if they do."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; fail on differences")
    if parser.parse_args(arguments).check:
        found = list(differences(root))
        for diff in found:
            print(diff, end="")
        if found:
            print("Run tools/gen_docs.py to write them anew.")
        return int(bool(found))
    for name, text in documents().items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
