"""How much memory does an agent take while it pulls a large blob and serves it to four peers?

Five nodes, links unshaped, all stores empty: a client on each reads the same blob of 1 GiB at the
same moment, as in a rollout. So every agent pulls the blob, from the registry and from the others,
and serves its pieces to four peers at the same time, and each of them is measured: RssAnon of its
worker process (/proc/<pid>/status), a hundred times a second. The figure is the highest value that
any of the five had at any time.

In each run the same is done once more with a star: one agent knows the other four, which know
nobody but it. So it sends each of the four whatever that one did not itself fetch from the registry
(`star_sent` says how much in all), and it alone is measured: `star_peak` is its highest value.

A run takes 50 to 60 s where the disk writes 200 MB/s; each reading is given up after 3 minutes.
"""

import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bench.agent_costs import AnonymousPeaks, anonymous_bytes, worker_pid
from bench.large_blob import LargeBlob, push_large_blob, read_together, wait_stored
from bench.ledger import Figure, Ledger, parser
from shoal.core.membership.placement import ranked
from shoal.core.peer import PeerId
from shoal.testing.bed.agents import PEER_PORT
from shoal.testing.bed.bed import Bed
from shoal.testing.bed.node import Node
from shoal.testing.image import MIB

BOUND_MIB = 128
NODES = 5
_REST_S = 3.0  # for what is over to be given back


@dataclass(frozen=True, slots=True)
class Run:
    """Anonymous memory of one agent, or the most of several, in bytes."""

    before_bytes: int
    peak_bytes: int
    after_bytes: int
    sent_bytes: float  # to peers
    wall_s: float


def main() -> int:
    """Measure, print, write down."""
    options = parser(__doc__, runs=5)
    options.add_argument("--size", type=int, default=1024, metavar="MIB", help="of the blob (1024)")
    args = options.parse_args()
    ledger = Ledger("memory", question="What memory does pulling and serving 1 GiB take?")
    with Bed(nodes=NODES) as bed:
        blob = push_large_blob(bed, size_mib=args.size)
        meshes, stars = [], []
        for _ in range(args.runs):
            meshes.append(_mesh(bed, blob))
            stars.append(_star(bed, blob))
    _add(ledger, "", meshes, blob.size_bytes)
    _add(ledger, "star_", stars, blob.size_bytes)
    return ledger.finish(args)


def _mesh(bed: Bed, blob: LargeBlob) -> Run:
    run = _run(bed, blob, {node: {} for node in bed.nodes}, measured=bed.nodes)
    _show("mesh", run)
    return run


def _star(bed: Bed, blob: LargeBlob) -> Run:
    """Measure the middle of a star: the node that tracks the blob, whoever of them is asked."""
    by_peer = {PeerId(_member(node)): node for node in bed.nodes}
    middle = by_peer[ranked(blob.spec.tag, by_peer)[0]]
    changes = {
        node: {} if node is middle else {"membership": {"static": [_member(middle), _member(node)]}}
        for node in bed.nodes
    }
    run = _run(bed, blob, changes, measured=[middle])
    _show("star", run)
    return run


def _member(node: Node) -> str:
    return f"{node.host.ipv4}:{PEER_PORT}"


def _run(
    bed: Bed,
    blob: LargeBlob,
    changes: Mapping[Node, Mapping[str, Any]],
    *,
    measured: list[Node],
) -> Run:
    bed.stop_agents()
    for node, change in changes.items():
        node.start_agent(bed.agent_settings(node, change), wait=False)
    for node in bed.nodes:
        node.agent.wait_ready()
    pids = [worker_pid(node.agent) for node in measured]
    before_bytes = max(map(anonymous_bytes, pids))
    began_s = time.monotonic()
    with AnonymousPeaks(pids) as peaks:
        read_together(bed.nodes, blob)
        wall_s = time.monotonic() - began_s
        for node in bed.nodes:
            wait_stored(node, blob)
        time.sleep(_REST_S)
    return Run(
        before_bytes=before_bytes,
        peak_bytes=max(peaks.peak_bytes.values()),
        after_bytes=max(map(anonymous_bytes, pids)),
        sent_bytes=sum(n.agent.metrics()["shoal_peer_sent_bytes_total"] for n in measured),
        wall_s=wall_s,
    )


def _show(kind: str, run: Run) -> None:
    print(
        f"{kind}: RssAnon {run.before_bytes / MIB:.0f} MiB before, {run.peak_bytes / MIB:.0f} at "
        f"most, {run.after_bytes / MIB:.0f} after; {run.sent_bytes / MIB:.0f} MiB sent to peers; "
        f"{run.wall_s:.1f} s",
        file=sys.stderr,
        flush=True,
    )


def _add(ledger: Ledger, prefix: str, runs: list[Run], size_bytes: int) -> None:
    peaks = [run.peak_bytes / MIB for run in runs]
    ledger.add(Figure.at_most(f"{prefix}peak", peaks, bound=BOUND_MIB, unit="MiB"))
    for name, values in (
        ("before", [run.before_bytes / MIB for run in runs]),
        ("after", [run.after_bytes / MIB for run in runs]),
    ):
        ledger.add(Figure.shown(f"{prefix}{name}", values, unit="MiB"))
    copies = [run.sent_bytes / size_bytes for run in runs]
    ledger.add(
        Figure.shown(
            f"{prefix}sent", copies, unit="copies", note="to peers, by all that were measured"
        )
    )


if __name__ == "__main__":
    sys.exit(main())
