"""How near to ideal do large rollouts come, in virtual time?

Runs the scenarios that come with `shoal sim`, each in a process of its own, and holds what comes of
them against the bounds: multiples of the ideal, copies, uploads, the load of the busiest tracker.
Beside a published run stands what was published, with what the two do not share.

All rows take half an hour of one processor; `--only thousand` runs one, `--quick` all with a tenth
of their nodes (their figures are not the ones that are asked for, and are not written down).
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.ledger import Figure, Ledger, parser
from bench.sim_costs import handshake_s, message_s
from shoal.sim.scenario import Scenario, load

Document = dict[str, Any]
UPLOAD_BOUND = 1.5  # x the image, by any node
EXACT = 1.0005  # what "1.00 copies" allows: half of the last digit
BUSIEST_BOUND_PERCENT = 10.0
HANDSHAKES_BOUND = 300
MEMORY_BOUND_GIB = 8.0
QUICK = 10


@dataclass(frozen=True, slots=True)
class Ran:
    """One scenario's results, and what running it took."""

    document: Document
    cpu_s: float
    memory_gib: float

    def share(self, key: str) -> float:
        """Return a time of the healthy nodes as a multiple of the ideal."""
        whole = self.document["whole"]
        return float(whole[key]) / float(whole["ideal_s"])


def _snake(name: str) -> str:
    return name.replace("-", "_")


def _ideal_p99(name: str, bound: float, ran: Ran) -> list[Figure]:
    return [
        Figure.at_most(f"{_snake(name)}_p99", [ran.share("p99_s")], bound=bound, unit="x ideal"),
        Figure.shown(
            f"{_snake(name)}_p99_arrived",
            [float(ran.document["whole"]["arrived_p99_s"]) / ran.document["whole"]["ideal_s"]],
            unit="x ideal",
            note="the last byte is there; what is left is hashing the whole blob in order",
        ),
    ]


def _copies(name: str, bound: float, ran: Ran) -> Figure:
    return Figure.at_most(
        f"{_snake(name)}_copies", [ran.document["copies"]], bound=bound, unit="copies"
    )


def _large(bound: float, cpu_bound_s: float) -> Callable[[str, Ran], list[Figure]]:
    def figures(name: str, ran: Ran) -> list[Figure]:
        return [
            *_ideal_p99(name, bound, ran),
            _copies(name, EXACT, ran),
            Figure.at_most(
                f"{_snake(name)}_most_uploaded",
                [ran.document["uploaded_most"]],
                bound=UPLOAD_BOUND,
                unit="x image",
            ),
            Figure.at_most(f"{_snake(name)}_cpu", [ran.cpu_s], bound=cpu_bound_s, unit="s"),
            Figure.at_most(
                f"{_snake(name)}_memory", [ran.memory_gib], bound=MEMORY_BOUND_GIB, unit="GiB"
            ),
        ]

    return figures


def _tracker(name: str, ran: Ran) -> list[Figure]:
    document = ran.document
    messages = document["messages_most"] + document["messages_sent_most"]
    seconds = messages * message_s() + document["handshakes_most"] * handshake_s()
    return [
        *_large(1.15, 900.0)(name, ran),
        Figure.at_most(
            "tracker_load",
            [100 * seconds / document["virtual_s"]],
            bound=BUSIEST_BOUND_PERCENT,
            unit="%",
            note="of one core, over the rollout: the most messages into a node and the most out "
            "of one, and its handshakes, at the agent's measured cost of each",
        ),
        Figure.at_most("tracker_handshakes", [document["handshakes_most"]], bound=HANDSHAKES_BOUND),
        Figure.shown("tracker_messages", [messages]),
    ]


def _forty(name: str, ran: Ran) -> list[Figure]:
    return [*_ideal_p99(name, 1.25, ran), _copies(name, 1.01, ran)]


def _kraken(name: str, ran: Ran) -> list[Figure]:
    bounds = {"p50": 10.5, "p99": 11.2, "p999": 11.5}
    theirs = {"p50": 10, "p99": 18, "p999": 22}
    whole = ran.document["whole"]
    return [
        Figure.at_most(
            f"{_snake(name)}_{key}",
            [whole[f"{key}_s"]],
            bound=bound,
            unit="s",
            note=f"Kraken's README: {theirs[key]} s for each of two blobs; here the whole image, "
            "hashing included",
        )
        for key, bound in bounds.items()
    ] + [_copies(name, 1.01, ran)]


def _dragonfly(name: str, ran: Ran) -> list[Figure]:
    return [
        _copies(name, 1.01, ran),
        Figure.shown(
            f"{_snake(name)}_last",
            [ran.document["whole"]["last_s"]],
            unit="s",
            note="Dragonfly's 55 s are from a pod's creation to its start, unpacking included",
        ),
    ]


_ACR = {
    "acr-8x512mb": ("116 s", 2.0),
    "acr-1x10gb": ("6 min 20 s", 1.2),
    "acr-5x4gb": ("9 min 15 s", 5.1),
    "acr-2x10gb": ("9 min 50 s", 6.7),
    "acr-40x512mb": ("7 min 55 s", 3.8),
    "acr-1x20gb": ("11 min", 2.5),
    "acr-10x2gb": ("8 min 13 s", 3.2),
}


def _acr(name: str, ran: Ran) -> list[Figure]:
    theirs, peak = _ACR[name]
    return [
        Figure.shown(
            f"{_snake(name)}_p95",
            [ran.document["whole"]["p95_s"]],
            unit="s",
            note=f"published: {theirs}, which includes unpacking and writing to a cloud disk",
        ),
        Figure.shown(
            f"{_snake(name)}_peak",
            [ran.document["registry_peak_bytes_per_s"] * 8 / 1e9],
            unit="Gbit/s",
            note=f"published: {peak} Gbit/s at the bucket; the most in one second here",
        ),
    ]


def _trouble(name: str, ran: Ran) -> list[Figure]:
    return [
        Figure.at_most(f"{_snake(name)}_p99", [ran.share("p99_s")], bound=1.3, unit="x ideal"),
        Figure.at_most(f"{_snake(name)}_unfinished", [ran.document["alive_unfinished"]], bound=0),
        _copies(name, 1.03, ran),
    ]


# In the order of the table.
ROWS: dict[str, Callable[[str, Ran], list[Figure]]] = {
    "thousand": _large(1.12, 60.0),
    "thousand-fast-registry": _large(1.06, 60.0),
    "ten-thousand": _tracker,
    "forty-layers": _forty,
    "kraken": _kraken,
    "dragonfly": _dragonfly,
    **dict.fromkeys(_ACR, _acr),
    "trouble": _trouble,
}


def main() -> int:
    """Run the rows, print, write down."""
    options = parser(__doc__, runs=1)
    options.add_argument("--only", action="append", choices=ROWS, help="run this row only")
    options.add_argument("--quick", action="store_true", help="with a tenth of the nodes")
    args = options.parse_args()
    args.write = args.write and not args.quick
    ledger = Ledger("sim", question="How near to ideal do large rollouts come, in virtual time?")
    for name in args.only or ROWS:
        ran = run(load(name), quick=args.quick)
        whole = ran.document["whole"]
        print(
            f"{name}: p99 {whole['p99_s']:.2f} s of {whole['ideal_s']:.2f} s, "
            f"{ran.document['copies']:.4f} copies, {ran.cpu_s:.0f} s of processor",
            file=sys.stderr,
            flush=True,
        )
        for figure in ROWS[name](name, ran):
            ledger.add(figure)
    ledger.note(
        "Ideal: each node's link carries the image once, the registry's link carries it once, at "
        "the goodput of one stream. p99 is from a node's begin until it has checked every layer."
    )
    ledger.note("docs/sim.md says what is modelled; the scenarios are in src/shoal/sim/scenarios.")
    return ledger.finish(args)


def run(scenario: Scenario, *, quick: bool) -> Ran:
    """Run a scenario in a process of its own; return its results and what it took."""
    document = scenario.model_dump()
    if quick:
        for group in document["nodes"]:
            group["count"] = max(2, group["count"] // QUICK)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "scenario.yaml"
        path.write_text(json.dumps(document))  # JSON is YAML
        out = Path(folder) / "results.json"
        with out.open("wb") as stdout:
            child = subprocess.Popen(
                [sys.executable, "-m", "shoal", "sim", str(path), "--json"], stdout=stdout
            )
            _, status, usage = os.wait4(child.pid, 0)
            child.returncode = os.waitstatus_to_exitcode(status)
        if child.returncode not in (0, 1):
            raise SystemExit(f"bench: shoal sim failed with {child.returncode}")
        results: Document = json.loads(out.read_text())
    return Ran(results, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024 / 1024)
