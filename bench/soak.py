"""Does an agent stay as it is, pull after pull?

Three nodes, links unshaped: a fresh image of three layers (1 KB, 300 KB, 3 MiB) is pushed, and all
nodes pull it at once by the CRI's PullImage; then the next. The store's quota is 256 MiB, which 75
images fill, so that most pulls push an older image out. Each agent's worker process is measured
after so many pulls as let it reach its size (50), and after the last: resident memory (VmRSS), file
descriptors and threads. A figure is that of the node that grew most.

Five hundred pulls take some five minutes.
"""

import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from bench.ledger import Figure, Ledger, parser
from shoal.testing.bed.bed import Bed
from shoal.testing.bed.fresh import FreshImages, Pushed
from shoal.testing.bed.node import Node
from shoal.testing.bed.processes import BedError
from shoal.testing.chaos.judge import Sample
from shoal.testing.chaos.resources import sample
from shoal.testing.image import MIB

NODES = 3
STORE_BYTES = 256 * MIB
SETTLED_AFTER = 50  # pulls
GROWTH_MOST = 1.10
_REST_S = 3.0  # for what is over to be given back


@dataclass(frozen=True, slots=True)
class Soak:
    """What each node's agent took when it had settled, and at the end."""

    settled: list[Sample]
    ended: list[Sample]

    def growth(self, of: Callable[[Sample], int]) -> float:
        """Return how much the node that grew most takes of what it took before."""
        return max(of(b) / of(a) for a, b in zip(self.settled, self.ended, strict=True))


def main() -> int:
    """Measure, print, write down."""
    options = parser(__doc__, runs=1)
    options.add_argument("--pulls", type=int, default=500, metavar="N", help="on each node (500)")
    args = options.parse_args()
    if args.pulls <= SETTLED_AFTER:
        options.error(f"--pulls must be more than {SETTLED_AFTER}")
    ledger = Ledger("soak", question="Does an agent stay as it is, pull after pull?")
    soaks = [_soak(args.pulls) for _ in range(args.runs)]
    memory = [soak.growth(lambda s: s.rss_bytes) for soak in soaks]
    ledger.add(Figure.at_most("memory_growth", memory, bound=GROWTH_MOST, unit="x"))
    for name, of in (("descriptors", _descriptors), ("threads", _threads)):
        ledger.add(Figure.shown(f"{name}_growth", [soak.growth(of) for soak in soaks], unit="x"))
    for name, samples in (("settled", soaks[-1].settled), ("ended", soaks[-1].ended)):
        sizes = [s.rss_bytes / MIB for s in samples]
        ledger.add(Figure.shown(f"{name}_rss", sizes, unit="MiB"))
    ledger.note(f"{args.pulls} pulls a node; settled after {SETTLED_AFTER}.")
    return ledger.finish(args)


def _descriptors(taken: Sample) -> int:
    return taken.fds


def _threads(taken: Sample) -> int:
    return taken.threads


def _soak(pulls: int) -> Soak:
    settled: list[Sample] = []
    with (
        Bed(nodes=NODES) as bed,
        tempfile.TemporaryDirectory() as folder,
        ThreadPoolExecutor(NODES) as together,
    ):
        images = FreshImages(bed.registry, folder=Path(folder))
        bed.start_agents(changes={"store": {"quota_bytes": STORE_BYTES}})
        for number in range(pulls):
            if number == SETTLED_AFTER:
                settled = _samples(bed)
            pushed = images()
            list(together.map(lambda node, of=pushed: _pull(node, of), bed.nodes))
        return Soak(settled, _samples(bed))


def _pull(node: Node, pushed: Pushed) -> None:
    node.cri.pull(pushed.reference())
    node.cri.remove(pushed.reference())


def _samples(bed: Bed) -> list[Sample]:
    time.sleep(_REST_S)
    taken = [sample(node, number=n, at_s=time.monotonic()) for n, node in enumerate(bed.nodes)]
    found = [each for each in taken if each is not None]
    if len(found) != NODES:
        raise BedError("an agent is gone")
    return found


if __name__ == "__main__":
    sys.exit(main())
