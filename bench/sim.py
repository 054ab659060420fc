"""How near to ideal do large rollouts come, in virtual time?

Runs the scenarios that come with `shoal sim`, each in a process of its own, and holds what comes of
them against the bounds: multiples of the ideal, copies, uploads, the load of the busiest tracker.
Beside a published run stands what was published, with what the two do not share.

All rows take hours of one processor; `--only thousand` runs one and leaves what is written of the
others, each with its commit, as it is. `--part 10` runs with a tenth of the nodes, which
is written down as such beside what is asked.
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

from bench.ledger import Figure, Ledger, finish_all, parser
from bench.sim_costs import handshake_s, message_s
from shoal.sim.scenario import Scenario, load

Document = dict[str, Any]
UPLOAD_BOUND = 1.5  # x the image, by any node
EXACT = 1.0005  # what "1.00 copies" allows: half of the last digit
BUSIEST_BOUND_PERCENT = 10.0
HANDSHAKES_BOUND = 300
MEMORY_BOUND_GIB = 8.0
SUMMARY = ("p99", "copies", "unfinished", "cpu")


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


def _nothing(_: Ran) -> list[Figure]:
    return []


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One scenario: the bounds of what every row shows, and what only this one does.

    Attributes:
        p99: bound of the healthy nodes' p99, x ideal.
        last: the same of the last node.
        copies: bound of the registry's copies for each site.
        cpu_s: bound of the processor's time.
        further: further figures.
    """

    p99: float | None = None
    last: float | None = None
    copies: float | None = None
    cpu_s: float | None = None
    further: Callable[[Ran], list[Figure]] = _nothing

    def figures(self, ran: Ran) -> list[Figure]:
        """Return all figures of the row."""
        document = ran.document
        whole = document["whole"]
        floor = whole["floor_s"]
        return [
            _held("p99", ran.share("p99_s"), self.p99, "x ideal"),
            _held("last", ran.share("last_s"), self.last, "x ideal"),
            Figure.shown("p50", [ran.share("p50_s")], unit="x ideal"),
            Figure.shown(
                "p99_arrived",
                [ran.share("arrived_p99_s")],
                unit="x ideal",
                note="the last byte is there; what is left is hashing the whole blob in order",
            ),
            *(
                [
                    Figure.shown(
                        "floor",
                        [floor / whole["ideal_s"]],
                        unit="x ideal",
                        note="what no system of whole pieces passes: acknowledgements take their "
                        "share of links, and most nodes have nothing to send in the beginning",
                    )
                ]
                if floor
                else []
            ),
            Figure.shown("ideal", [whole["ideal_s"]], unit="s"),
            _held("copies", document["copies"], self.copies, "copies"),
            Figure.at_most("unfinished", [document["alive_unfinished"]], bound=0),
            *self.further(ran),
            _held("cpu", ran.cpu_s, self.cpu_s, "s"),
            Figure.at_most("memory", [ran.memory_gib], bound=MEMORY_BOUND_GIB, unit="GiB"),
        ]


def _held(name: str, value: float, bound: float | None, unit: str) -> Figure:
    if bound is None:
        return Figure.shown(name, [value], unit=unit)
    return Figure.at_most(name, [value], bound=bound, unit=unit)


def _uploads(ran: Ran) -> list[Figure]:
    uploaded = ran.document["uploaded_most"]
    return [Figure.at_most("most_uploaded", [uploaded], bound=UPLOAD_BOUND, unit="x image")]


def _tracker(ran: Ran) -> list[Figure]:
    document = ran.document
    messages = document["messages_most"] + document["messages_sent_most"]
    seconds = messages * message_s() + document["handshakes_most"] * handshake_s()
    return [
        *_uploads(ran),
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


def _kraken(ran: Ran) -> list[Figure]:
    bounds = {"p50": 10.5, "p99": 11.2, "p999": 11.5}
    theirs = {"p50": 10, "p99": 18, "p999": 22}
    whole = ran.document["whole"]
    return [
        Figure.at_most(
            f"{key}_seconds",
            [whole[f"{key}_s"]],
            bound=bound,
            unit="s",
            note=f"Kraken's README: {theirs[key]} s for each of two blobs; here the whole image, "
            "hashing included",
        )
        for key, bound in bounds.items()
    ]


def _dragonfly(ran: Ran) -> list[Figure]:
    return [
        Figure.shown(
            "last_seconds",
            [ran.document["whole"]["last_s"]],
            unit="s",
            note="Dragonfly's 55 s are from a pod's creation to its start, unpacking included",
        ),
    ]


def _shared(ran: Ran) -> list[Figure]:
    return [
        Figure.at_least(
            "shared",
            [ran.document["shared_least"]],
            bound=1.0,
            note="of what the site had without its uplink, what each of its nodes had at least "
            "when it came back",
        )
    ]


def _acr(theirs: str, peak: float) -> Row:
    def further(ran: Ran) -> list[Figure]:
        return [
            Figure.shown(
                "p95_seconds",
                [ran.document["whole"]["p95_s"]],
                unit="s",
                note=f"on the network, hashing included; published: {theirs}, which includes "
                "unpacking and writing to a cloud disk, on nodes whose links are not published",
            ),
            Figure.shown(
                "registry_peak",
                [ran.document["registry_peak_bytes_per_s"] * 8 / 1e9],
                unit="Gbit/s",
                note=f"published: {peak} Gbit/s at the bucket; the most in one second here",
            ),
        ]

    return Row(further=further)


# In the order of the table, and then of its list of sites.
ROWS: dict[str, Row] = {
    "thousand": Row(p99=1.12, copies=EXACT, cpu_s=60.0, further=_uploads),
    "thousand-fast-registry": Row(p99=1.06, copies=EXACT, cpu_s=60.0, further=_uploads),
    "ten-thousand": Row(p99=1.15, copies=EXACT, cpu_s=900.0, further=_tracker),
    "ten-thousand-fast-registry": Row(p99=1.15, copies=EXACT, cpu_s=900.0, further=_tracker),
    "forty-layers": Row(p99=1.25, copies=1.01),
    "kraken": Row(copies=1.01, further=_kraken),
    "dragonfly": Row(copies=1.01, further=_dragonfly),
    "acr-8x512mb": _acr("116 s", 2.0),
    "acr-1x10gb": _acr("6 min 20 s", 1.2),
    "acr-5x4gb": _acr("9 min 15 s", 5.1),
    "acr-2x10gb": _acr("9 min 50 s", 6.7),
    "acr-40x512mb": _acr("7 min 55 s", 3.8),
    "acr-1x20gb": _acr("11 min", 2.5),
    "acr-10x2gb": _acr("8 min 13 s", 3.2),
    "trouble": Row(p99=1.3, copies=1.03),
    "thin-uplinks": Row(last=1.15, copies=1.01),
    "fallen-apart": Row(copies=1.05),
    "lone-node": Row(last=1.02, copies=EXACT),
    "cut-off": Row(further=_shared),
    "other-views": Row(copies=1.05),
}


def main() -> int:
    """Run the rows; print and write down each as it ends."""
    options = parser(__doc__, runs=1)
    options.add_argument("--only", action="append", choices=ROWS, help="run this row only")
    options.add_argument(
        "--part", type=int, default=1, metavar="N", help="with every Nth node: not what is asked"
    )
    args = options.parse_args()
    status = 0
    for name in args.only or ROWS:
        status |= finish_all([_row(name, part=args.part)], args)
    return status


def _row(name: str, *, part: int) -> Ledger:
    scenario = load(name)
    ran = run(scenario, part=part)
    nodes = ran.document["nodes"]
    command = f"./dev bench sim --only {name}"
    section = name
    if part > 1:
        command += f" --part {part}"
        section += f", {nodes} nodes instead of {sum(group.count for group in scenario.nodes)}"
    ledger = Ledger(
        "sim",
        question="How near to ideal do large rollouts come, in virtual time?",
        section=section,
        command=command,
        summary=SUMMARY,
    )
    ledger.note(
        f"{scenario.title}. {scenario.about.strip()} Ideal: each node's link carries the image "
        "once, the registry's and each site's link once for each site, at the goodput of one "
        "stream. Times are from a node's begin until it has checked every layer. docs/sim.md says "
        "what is modelled."
    )
    for figure in ROWS[name].figures(ran):
        ledger.add(figure)
    return ledger


def run(scenario: Scenario, *, part: int = 1) -> Ran:
    """Run a scenario in a process of its own; return its results and what it took.

    Args:
        scenario: what to run.
        part: of each group of several nodes only every so many are there, but two at least.
    """
    document = scenario.model_dump()
    for group in document["nodes"]:
        group["count"] = min(group["count"], max(2, group["count"] // part))
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
