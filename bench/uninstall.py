"""Does an uninstall leave a node's files as they were, also on nodes that are off meanwhile?

Eight nodes with real containerd are installed by the chart's own commands, 20 images are pulled
through their agents, two nodes lose their power, and what `helm uninstall` runs is run. The two
return, pull an image before anything else has happened on them, and are cleaned. Everything about
the runtime's configuration, the folder above the store and whatever has Shoal's name is compared
with what it was before.
"""

import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from bench.ledger import Figure, Ledger, parser
from shoal.testing.bed.bed import Bed
from shoal.testing.bed.fresh import FreshImages
from shoal.testing.bed.installation import Installation, differing, manifest
from shoal.testing.bed.node import Node
from shoal.testing.bed.processes import BedError

NODES, OFF, PULLS = 8, 2, 20
WAIT_S = 20.0
CLEAN_BOUND_S = 300.0


def main() -> int:
    """Measure, print, write down."""
    args = parser(__doc__, runs=3).parse_args()
    ledger = Ledger("uninstall", question="Does an uninstall leave every file as it was?")
    files: list[float] = []
    failed: list[float] = []
    returned: list[float] = []
    for _ in range(args.runs):
        with Bed(nodes=NODES) as bed, tempfile.TemporaryDirectory() as folder:
            for node in bed.nodes:
                node.use_registry()
            run = _Run(bed, FreshImages(bed.registry, folder=Path(folder)))
            run.measure()
            files.append(len(run.differ))
            failed.append(run.failed)
            returned.append(run.clean_s)
    ledger.add(Figure.at_most("files_that_differ", files, bound=0, unit="files"))
    ledger.add(Figure.at_most("pulls_that_failed", failed, bound=0, unit="pulls"))
    ledger.add(Figure.at_most("clean_after_return", returned, bound=CLEAN_BOUND_S, unit="s"))
    ledger.note(
        f"{NODES} nodes, {PULLS} pulls through agents before, {OFF} nodes off during the "
        f"uninstall; then a pull on each node that stayed, one on each that returned, before it "
        f"was cleaned, and one on each afterwards. Compared: path, kind, mode, owner and content "
        f"of everything below the runtime's configuration and above the store."
    )
    return ledger.finish(args)


class _Run:
    """One installation's life."""

    def __init__(self, bed: Bed, images: FreshImages) -> None:
        self._bed = bed
        self._images = images
        self.differ: list[str] = []
        self.failed = 0
        self.clean_s = 0.0

    def measure(self) -> None:
        """Install, pull, uninstall, compare."""
        nodes = self._bed.nodes
        staying, off = nodes[:-OFF], nodes[-OFF:]
        with Installation(self._bed, nodes) as installation:
            before = {node.name: manifest(node) for node in nodes}
            installation.install()
            for number in range(PULLS):
                self._pull(nodes[number % NODES : number % NODES + 1])
            for node in off:
                installation.turn_off(node)
            installation.uninstall(wait_s=WAIT_S)
            self._pull(staying)
            for node in off:
                node.containerd.start()
            self._pull(off)
            began_s = time.monotonic()
            for node in off:
                installation.turn_on(node)
            installation.wait_until_gone()
            self.clean_s = time.monotonic() - began_s
            for node in nodes:
                self.differ += differing(before[node.name], manifest(node))
            self._pull(nodes)

    def _pull(self, nodes: Sequence[Node]) -> None:
        for node in nodes:
            try:
                node.cri.pull(self._images().reference())
            except BedError:
                self.failed += 1
