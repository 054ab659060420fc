"""docs/limits.md says what the source says."""

import ast
import importlib
import re
from collections.abc import Iterable
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from pydantic import BaseModel

from shoal.adapters.telemetry.metrics import Metrics
from shoal.agent.front.answers import Cause

ROOT = Path(__file__).parents[2]
SOURCES = ROOT / "src" / "shoal"
PAGE = (ROOT / "docs" / "limits.md").read_text(encoding="utf-8")
# Of these every bound must be on the page.
WHOLE = (
    "agent/front",
    "core/trust",
    "core/oci",
    "adapters/origin",
    "adapters/peers",
    "adapters/certificates",
    "core/wire",
    "core/receipts",
    "agent/vouching.py",
    "agent/peer_certificates.py",
    "core/swarm/accounts.py",
    "core/swarm/contest.py",
    "core/swarm/rejections.py",
    "core/swarm/suspicion.py",
)
# Bounds by their names which no stranger, peer or load can reach: with where they come from.
NOT_ON_THE_PAGE = {
    "adapters/origin/signed_urls.py _MAX_AGE": "an expression that finds a number",
    "agent/front/listening.py _CHOICES_MOST": "tries at the start, which nobody waits for",
    "agent/front/journal.py _WINDOW_S": "in the line of _LINES_PER_WINDOW",
    "adapters/peers/refusal_journal.py _WINDOW_S": "in the line of _LINES_PER_WINDOW",
    "adapters/origin/auth.py DEFAULT_TOKEN_LIFETIME_S": "what a realm means that says nothing",
    "adapters/origin/body.py _AHEAD_S": "how even a limited rate is",
    "adapters/origin/receiving.py _BATCH_WAIT_S": "how much is read at once",
    "adapters/origin/signed_urls.py DEFAULT_LIFETIME_S": "what storage means that says nothing",
    "adapters/origin/signed_urls.py _MARGIN_S": "taken off another bound",
    "adapters/peers/waking.py WAKE_S": "how much is read at once",
    "adapters/peers/network.py PING_AFTER_S": "what this node says, so that it is not silent",
    "adapters/peers/listening.py ACCEPT_PAUSE_S": "of a machine that has no descriptor left",
    "agent/peer_certificates.py WATCH_INTERVAL_S": "how often files are looked at",
    "agent/peer_certificates.py WARN_INTERVAL_S": "how often the log warns",
    "core/swarm/suspicion.py STEADY_S": "what tells a good connection from a bad one",
    "core/wire/block_length.py SHORT_S": "what tells a fast link from a slow one",
    "core/wire/block_length.py LONG_S": "what tells a fast link from a slow one",
}

UNITS = {
    "": 1,
    "s": 1,
    "h": 3600,
    "bytes": 1,
    "times": 1,
    "characters": 1,
    "KiB": 2**10,
    "MiB": 2**20,
}
UNITS |= {"GiB": 2**30, "in": 1}
_NAME = re.compile(r"`(?P<file>[a-z0-9_/]+\.py)` `(?P<name>\w+(?:\.\w+)?)`")
_BOUND = re.compile(r"(?P<number>[0-9.]+) ?(?P<unit>[A-Za-z]*)")
_BOUNDS = re.compile(r"^_?MAX_|_MOST$|_PER_WINDOW$|_READS$|^_?[A-Z_]+_S$")
_METRIC = re.compile(r"`(?P<name>\w+)(?:\{(?P<label>\w+)=\"(?P<value>[^\"]+)\"\})?`")


def rows() -> list[list[str]]:
    """Return the cells of each bound."""
    found = []
    for line in PAGE.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split(" | ")]
        if line.startswith("| ") and len(cells) == 5 and cells[0] != "what":
            found.append(cells)
    return found


ROWS = rows()


def value_of(file: str, name: str) -> Any:
    """Return a module's constant, or the default of a field."""
    module = importlib.import_module(f"shoal.{file.removesuffix('.py').replace('/', '.')}")
    owner, _, attribute = name.partition(".")
    found = getattr(module, owner)
    if not attribute:
        return found
    if is_dataclass(found):
        default = next(field.default for field in fields(found) if field.name == attribute)
        assert default is not MISSING
        return default
    assert issubclass(found, BaseModel)
    return found.model_fields[attribute].default


def test_the_page_has_rows() -> None:
    assert len(ROWS) > 70


@pytest.mark.parametrize("cells", ROWS, ids=[row[0] for row in ROWS])
def test_a_bound_is_what_the_source_says(cells: list[str]) -> None:
    _, bound, name, metric, then = cells
    assert then
    place = _NAME.fullmatch(name)
    if place is not None:
        value = value_of(place["file"], place["name"])
        said = _BOUND.match(bound)
        if said is not None:
            assert value == float(said["number"]) * UNITS[said["unit"]]
        else:
            assert not isinstance(value, int | float)
    else:
        assert name == "aiohttp"
    if metric == "-":
        return
    declared = {entry.name: entry for entry in Metrics(CollectorRegistry()).declared}
    found = list(_METRIC.finditer(metric))
    assert found
    for match in found:
        entry = declared[match["name"]]
        if match["label"] is not None:
            assert match["label"] in entry.labels
            values = entry.labels[match["label"]] or tuple(Cause)
            assert match["value"] in values


def bounds_of(path: Path) -> list[str]:
    """Return the names of a module's constants that bound something: a size, a count, a wait."""
    names = []
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        targets = node.targets if isinstance(node, ast.Assign) else []
        targets = [node.target] if isinstance(node, ast.AnnAssign) else targets
        names += [target.id for target in targets if isinstance(target, ast.Name)]
    return [name for name in names if _BOUNDS.search(name)]


def _modules(place: Path) -> Iterable[Path]:
    return place.rglob("*.py") if place.is_dir() else (place,)


@pytest.mark.parametrize("package", WHOLE)
def test_no_bound_is_missing(package: str) -> None:
    named = {f"{match['file']} {match['name']}" for match in _NAME.finditer(PAGE)}
    missing = [
        entry
        for path in sorted(_modules(SOURCES / package))
        for name in bounds_of(path)
        if (entry := f"{path.relative_to(SOURCES)} {name}") not in named
        and entry not in NOT_ON_THE_PAGE
    ]
    assert missing == []
