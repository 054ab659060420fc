"""How soon does a pull go on elsewhere when an agent or a peer dies, hangs or is unplugged?

`dead` and `stopped` are whole pulls of a tiny image by containerd's CRI whose node's agent was
killed with its supervisor, or got SIGSTOP, just before. `stall` is the longest time in which
containerd got nothing during a pull whose one seeder got SIGSTOP in the middle, on a link of 50
Mbit/s; its 99th percentile over the runs is the largest of them as long as there are fewer than a
hundred.
"""

import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench.ledger import Figure, Ledger, parser
from shoal.testing.bed.bed import Bed
from shoal.testing.bed.fresh import FreshImages, Pushed
from shoal.testing.bed.node import Node
from shoal.testing.bed.processes import BedError
from shoal.testing.chaos.pulls import ProgressWatch

RATE = "50mbit"
TINY = (1024,)
LARGE = (24 << 20,)  # four seconds at that rate
STOP_AFTER_S = 1.0
FETCH_TIMEOUT_S = 120.0
DEAD_BOUND_S, STOPPED_BOUND_S, STALL_BOUND_S = 1.0, 5.0, 3.0


def main() -> int:
    """Measure, print, write down."""
    options = parser(__doc__, runs=20)
    args = options.parse_args()
    ledger = Ledger("failover", question="How soon does a pull go on elsewhere?")
    with Bed(nodes=2, rate=RATE) as bed, tempfile.TemporaryDirectory() as folder:
        images = FreshImages(bed.registry, folder=Path(folder))
        bed.start_agents()
        dead = [_pull_without(bed, images(layer_bytes=TINY), stop=False) for _ in range(args.runs)]
        stopped = [
            _pull_without(bed, images(layer_bytes=TINY), stop=True) for _ in range(args.runs)
        ]
        stalls = [_stall(bed, images(layer_bytes=LARGE)) for _ in range(args.runs)]
    ledger.add(Figure.at_most("dead_agent", [max(dead)], bound=DEAD_BOUND_S, unit="s"))
    ledger.add(Figure.at_most("stopped_agent", [max(stopped)], bound=STOPPED_BOUND_S, unit="s"))
    ledger.add(Figure.at_most("stall_p99", [max(stalls)], bound=STALL_BOUND_S, unit="s"))
    for name, seconds in (("dead_all", dead), ("stopped_all", stopped), ("stall_all", stalls)):
        ledger.add(Figure.shown(name, seconds, unit="s"))
    ledger.note(f"The worst of {args.runs} runs each, beside the median of all.")
    return ledger.finish(args)


def _pull_without(bed: Bed, pushed: Pushed, *, stop: bool) -> float:
    """Pull on a node whose agent has just gone; return the seconds it took."""
    node = bed.nodes[0]
    if stop:
        node.agent.pause()
    else:
        node.agent.kill()
    began_s = time.monotonic()
    node.cri.pull(pushed.reference())
    took_s = time.monotonic() - began_s
    _have_agent(node)
    return took_s


def _stall(bed: Bed, pushed: Pushed) -> float:
    """Pull from a seeder that stops in the middle; return the longest time without a byte."""
    puller, seeder = bed.nodes
    seeder.cri.pull(pushed.reference())
    with ProgressWatch(puller) as watch:
        command = puller.containerd.fetch_command(pushed.reference())
        with subprocess.Popen(command, stdout=subprocess.DEVNULL) as pull:
            time.sleep(STOP_AFTER_S)
            seeder.agent.pause()
            if pull.wait(FETCH_TIMEOUT_S) != 0:
                raise BedError(f"{puller.name}: the pull failed")
    _have_agent(seeder)
    return watch.longest_gap_s


def _have_agent(node: Node) -> None:
    """Wait until a node has an agent that answers, whatever was done to it."""
    if not node.agent.service.running:
        node.agent.start(wait=False)
    node.agent.wait_ready()


if __name__ == "__main__":
    sys.exit(main())
