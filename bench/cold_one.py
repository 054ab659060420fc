"""What does a single node lose by fetching through an agent, which is of no use to it alone?

One node fetches an image of 1 GiB of random bytes with `ctr content fetch`, straight from the
registry and through its agent, one after the other in every run, the first changing from run to
run. Nothing is stored before: containerd's root and the agent's store are empty. The figure is the
time through the agent over the time without, both of the same run: once with the links of node and
registry at 1 Gbit/s, and once unshaped, where all parts share the machine's processors and only
what they cost counts.

The registry's storage, containerd's root and the agent's store are in memory: with an agent a blob
is written twice, and this is not to measure a disk that is slower than the link. `--disk` leaves
them on the machine's disk.

A run, four fetches, takes some 50 s; a fetch is given up after 3 minutes.
"""

import sys
from dataclasses import dataclass

from bench.agent_costs import worker_pid
from bench.backed_memory import back_memory
from bench.large_blob import LargeBlob, push_large_blob
from bench.ledger import Figure, Ledger, parser
from bench.memory_disks import (
    keep_containerd_in_memory,
    keep_registry_in_memory,
    remove_agent_in_memory,
)
from shoal.testing.bed.bed import Bed
from shoal.testing.bed.measure import Rollout, check_complete, make_cold, rollout
from shoal.testing.bed.network import REGISTRY
from shoal.testing.bed.usage import CpuTime
from shoal.testing.image import MIB

RATE = "1gbit"
BOUND_SHAPED = 1.05
BOUND_UNSHAPED = 1.6
FETCH_TIMEOUT_S = 180.0


@dataclass(frozen=True, slots=True)
class Run:
    """Two fetches of the same blob."""

    agent: Rollout
    agent_cpu_s: float  # of the agent's worker process
    direct: Rollout

    @property
    def ratio(self) -> float:
        """The time through the agent over the time without."""
        return self.agent.last_s / self.direct.last_s


def main() -> int:
    """Measure, print, write down."""
    options = parser(__doc__, runs=5)
    options.add_argument("--size", type=int, default=1024, metavar="MIB", help="of the blob (1024)")
    options.add_argument("--disk", action="store_true", help="keep everything on the disk")
    args = options.parse_args()
    ledger = Ledger("cold-one", question="What does a single node lose by an agent?")
    with Bed(nodes=1, rate=RATE) as bed:
        # The agent leaves 1 GiB of its disk free, whatever it needs.
        room_bytes = None if args.disk else (2 * args.size + 1024 + 64) * MIB
        if room_bytes is not None:
            keep_registry_in_memory(bed, size_bytes=room_bytes)
            keep_containerd_in_memory(bed.nodes[0], size_bytes=room_bytes)
        blob = push_large_blob(bed, size_mib=args.size)
        shaped = _measure(bed, blob, room_bytes, count=args.runs, kind="shaped")
        for name in (bed.nodes[0].name, REGISTRY):
            bed.network.set_rate(name, None)
        unshaped = _measure(bed, blob, room_bytes, count=args.runs, kind="unshaped")
    _add(ledger, shaped, name="gbit", bound=BOUND_SHAPED, size_bytes=blob.size_bytes)
    _add(ledger, unshaped, name="unshaped", bound=BOUND_UNSHAPED, size_bytes=blob.size_bytes)
    where = "on the machine's disk" if args.disk else "in memory"
    ledger.note(f"Storage of the registry, containerd and the agent {where}.")
    return ledger.finish(args)


def _measure(
    bed: Bed, blob: LargeBlob, room_bytes: int | None, *, count: int, kind: str
) -> list[Run]:
    runs = []
    for number in range(count):
        # The first changes: whatever drifts favours neither.
        if number % 2:
            agent, agent_cpu_s = _fetch_through_agent(bed, blob, room_bytes)
            direct = _fetch(bed, blob)
        else:
            direct = _fetch(bed, blob)
            agent, agent_cpu_s = _fetch_through_agent(bed, blob, room_bytes)
        run = Run(agent, agent_cpu_s, direct)
        print(
            f"{kind} run {number + 1} of {count}: {agent.last_s:.2f} s through the agent "
            f"({agent.cpu_idle:.0%} idle, {agent_cpu_s:.2f} s of CPU its own), "
            f"{direct.last_s:.2f} s without ({direct.cpu_idle:.0%} idle): {run.ratio:.3f} x",
            file=sys.stderr,
            flush=True,
        )
        runs.append(run)
    return runs


def _fetch(bed: Bed, blob: LargeBlob) -> Rollout:
    make_cold(bed)
    return _fetch_now(bed, blob)


def _fetch_through_agent(
    bed: Bed, blob: LargeBlob, room_bytes: int | None
) -> tuple[Rollout, float]:
    make_cold(bed)
    (node,) = bed.nodes
    if room_bytes is not None:
        node.use_small_disk(room_bytes)
    bed.start_agents()
    pid = worker_pid(node.agent)
    before = CpuTime.of(pid)
    rolled = _fetch_now(bed, blob)
    cpu_s = (CpuTime.of(pid) - before).total_s
    if room_bytes is not None:
        remove_agent_in_memory(node)
    return rolled, cpu_s


def _fetch_now(bed: Bed, blob: LargeBlob) -> Rollout:
    back_memory(3 * blob.size_bytes)  # containerd's copy, the agent's, and room
    rolled = rollout(bed, blob.image, blob.reference, timeout_s=FETCH_TIMEOUT_S)
    check_complete(rolled, bed, blob.image)
    return rolled


def _add(ledger: Ledger, runs: list[Run], *, name: str, bound: float, size_bytes: int) -> None:
    ledger.add(
        Figure.at_most(f"{name}_ratio", [run.ratio for run in runs], bound=bound, unit="x direct")
    )
    for way, rolled in (
        ("agent", [run.agent for run in runs]),
        ("direct", [run.direct for run in runs]),
    ):
        seconds = [fetch.last_s for fetch in rolled]
        ledger.add(Figure.shown(f"{name}_{way}", seconds, unit="s"))
    cpu = [run.agent_cpu_s / (size_bytes / 1e9) for run in runs]
    ledger.add(
        Figure.shown(f"{name}_agent_cpu", cpu, unit="s/GB", note="user and system, until the end")
    )


if __name__ == "__main__":
    sys.exit(main())
