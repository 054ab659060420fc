"""Does the simulator say what the test bed measures?

The same rollout in both: 8 and 16 nodes, every link shaped alike, the layers of the same image, all
nodes at the same moment, default settings. The bed's figures are of real containerd, agents and a
registry; the simulator's the median of several seeds. Compared are the last node's time and what
the registry sent.

Two things that the simulator leaves out are measured on the bed and added to what it says. Full
queues in front of receivers drop some of what several senders send them at once: that has used its
sender's link, so senders' links are slower in the simulator by the share that was lost. And a pull
takes time that no bytes of layers take (containerd, the manifest, the agents' first connections):
that is measured with an image of as many layers that hold next to nothing, in both, and what the
bed took longer for it is added. How far the two are apart without either is told beside.

A bed whose processors are busy measures those and not the swarm, and the simulator has none. So
links are slow here (400 Mbit/s for all nodes together), and a run says how much of the processors
was idle: where that is less than the bound, nothing was compared.

A run of the bed takes some 40 s at 8 nodes and 80 s at 16; those of the simulator a few seconds.
"""

import argparse
import statistics
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from bench.ledger import Figure, Ledger, parser
from bench.rollout import CACHE, IMAGE_BYTES
from bench.rollout_figures import LOST_NOTE
from bench.rollout_runs import Run, Stage, measure
from bench.rollout_shape import Shape, parse_size, size_text
from shoal.sim.results import Results
from shoal.sim.run import run as simulate
from shoal.sim.scenario import Layer, Nodes, Registry, Scenario, Site
from shoal.testing.bed.bed import Bed
from shoal.testing.bed.network import parse_rate
from shoal.testing.image import cached_image, random_image
from shoal.testing.image_layout import BuiltImage

TIME_BOUND_PERCENT = 10.0
COPIES_BOUND_PERCENT = 2.0
# Below this share of idle processors nodes begin to wait for each other's turns.
IDLE_BOUND_PERCENT = 20.0
SEEDS = 5
# As in the shipped scenarios of the bed: its round trip is what the machine takes.
ROUND_TRIP_S = 0.001


def main() -> int:
    """Measure, print, write down."""
    options = parser(__doc__, runs=3)
    options.add_argument("--nodes", type=_counts, default=[8, 16], help="how many (8,16)")
    options.add_argument(
        "--total", default="400mbit", metavar="RATE", help="of all nodes' links together (400mbit)"
    )
    options.add_argument(
        "--image-size",
        type=parse_size,
        default=IMAGE_BYTES,
        metavar="SIZE",
        help=f"of the image ({size_text(IMAGE_BYTES)})",
    )
    args = options.parse_args()
    ledger = Ledger("agreement", question="Does the simulator say what the test bed measures?")
    image = cached_image(CACHE, size_bytes=args.image_size)
    layers = [layer.size_bytes for layer in image.layers]
    for nodes in args.nodes:
        rate = f"{parse_rate(args.total) / 1e6 / nodes:g}mbit"
        shape = Shape(nodes, rate, rate, args.image_size)
        print(f"{shape.name}:", file=sys.stderr, flush=True)
        small, measured = _on_bed(shape, image, runs=args.runs)
        add(ledger, shape, measured, simulated(shape, layers, small=small, measured=measured))
    ledger.note(
        f"An image of {image.layer_bytes / 1e6:.1f} MB in {len(layers)} layers, default settings, "
        f"links of {args.total} for all nodes together, the registry's as a node's. Simulated with "
        f"a round trip of {ROUND_TRIP_S * 1e3:g} ms and {SEEDS} seeds."
    )
    return ledger.finish(args)


def _on_bed(shape: Shape, image: BuiltImage, *, runs: int) -> tuple[list[Run], list[Run]]:
    """Return rollouts of an image with as many layers and next to nothing in them, and of `image`.

    Args:
        shape: the bed to build.
        image: to roll out.
        runs: how many of each.
    """
    with Bed(sites=shape.bed_sites(), registry_rate=shape.registry_rate) as bed:
        small = random_image(bed.folder / "small", layer_bytes=[1] * len(image.layers), seed=1)
        return (
            _runs(Stage(bed, shape, small, in_memory=False), count=runs),
            _runs(Stage(bed, shape, image, in_memory=False), count=runs),
        )


def _runs(stage: Stage, *, count: int) -> list[Run]:
    ideal_s = stage.shape.ideal_s(stage.image.layer_bytes, share=1.0)
    return measure(stage, count=count, through_agents=True, ideal_s=ideal_s)


@dataclass(frozen=True, slots=True)
class Simulated:
    """What the simulator says of one configuration, with what was measured for it on the bed."""

    bare: Sequence[Results]  # of links that lose nothing
    lossy: Sequence[Results]  # of links as slow as those that drop what was lost
    lost_share: float  # of all bytes, dropped in front of receivers
    around_s: float  # what a pull takes on the bed beside its bytes

    @property
    def last_s(self) -> float:
        """When the last node is to be done on the bed."""
        return self.around_s + statistics.median(result.whole.last_s for result in self.lossy)

    @property
    def bare_last_s(self) -> float:
        """The same by the simulator alone."""
        return statistics.median(result.whole.last_s for result in self.bare)

    @property
    def copies(self) -> float:
        """What the registry is to send."""
        return statistics.median(result.copies for result in self.lossy)


def simulated(
    shape: Shape, layers: Sequence[int], *, small: Sequence[Run], measured: Sequence[Run]
) -> Simulated:
    """Simulate what was measured.

    Args:
        shape: the bed, of one site.
        layers: sizes, in the manifest's order.
        small: rollouts of as many layers that hold next to nothing.
        measured: those of the layers; all that is taken from them is what was lost on links.
    """
    shares = [run.lost_share for run in measured if run.lost_share is not None]
    lost_share = statistics.median(shares) if shares else 0.0
    nothing = simulate(scenario_of(shape, [1] * len(layers), seed=1)).whole.last_s
    seeds = range(1, SEEDS + 1)
    return Simulated(
        bare=[simulate(scenario_of(shape, layers, seed=seed)) for seed in seeds],
        lossy=[
            simulate(scenario_of(shape, layers, seed=seed, lost_share=lost_share)) for seed in seeds
        ],
        lost_share=lost_share,
        around_s=max(0.0, statistics.median(run.last_s for run in small) - nothing),
    )


def scenario_of(
    shape: Shape, layers: Sequence[int], *, seed: int, lost_share: float = 0.0
) -> Scenario:
    """Return the simulator's scenario of what the bed is built as.

    Args:
        shape: the bed, of one site.
        layers: sizes, in the manifest's order.
        seed: of every random choice.
        lost_share: of what is sent, dropped in front of receivers and sent again.
    """
    rate, registry_rate = parse_rate(shape.rate) // 8, parse_rate(shape.registry_rate) // 8
    kept = 1 - lost_share
    return Scenario(
        title=shape.name,
        seed=seed,
        registry=Registry(rate=int(registry_rate * kept), round_trip=ROUND_TRIP_S),
        sites=[Site(name="site", round_trip=ROUND_TRIP_S)],
        nodes=[Nodes(count=shape.nodes, rate=rate, up=int(rate * kept))],
        image=[Layer(size=size) for size in layers],
        layers_at_once=len(layers),  # `ctr content fetch` asks for all of them
    )


def add(ledger: Ledger, shape: Shape, measured: Sequence[Run], simulated: Simulated) -> None:
    """Add what both said of one configuration, and how far they are apart."""
    nodes = f"{shape.nodes}_nodes"
    ledger.add(
        Figure.at_most(
            f"{nodes}_time_apart",
            [apart_percent(run.last_s, simulated.last_s) for run in measured],
            bound=TIME_BOUND_PERCENT,
            unit="%",
            note=f"the last node's time on the bed, from the simulator's, at {shape.rate}",
        )
    )
    ledger.add(
        Figure.at_most(
            f"{nodes}_copies_apart",
            [apart_percent(run.copies, simulated.copies) for run in measured],
            bound=COPIES_BOUND_PERCENT,
            unit="%",
            note="what the registry sent on the bed, from what it sent in the simulator",
        )
    )
    ledger.add(
        Figure.at_least(
            f"{nodes}_cpu_idle",
            [run.machine.idle_share * 100 for run in measured],
            bound=IDLE_BOUND_PERCENT,
            unit="%",
            note="of the machine that the bed ran on; below the bound the bed measured that",
        )
    )
    ledger.add(
        Figure.shown(
            f"{nodes}_time_apart_bare",
            [apart_percent(run.last_s, simulated.bare_last_s) for run in measured],
            unit="%",
            note="the same from the simulator alone, which neither loses nor starts anything",
        )
    )
    lossy = simulated.lossy
    for name, values, unit in (
        ("bed_last", [run.last_s for run in measured], "s"),
        ("sim_last", [result.whole.last_s + simulated.around_s for result in lossy], "s"),
        ("sim_last_bare", [result.whole.last_s for result in simulated.bare], "s"),
        ("bed_median", [run.median_s for run in measured], "s"),
        ("sim_median", [result.whole.p50_s + simulated.around_s for result in lossy], "s"),
        ("bed_copies", [run.copies for run in measured], "copies"),
        ("sim_copies", [result.copies for result in lossy], "copies"),
        ("bed_most_sent", [run.most_sent for run in measured], "copies"),
        ("sim_most_sent", [result.uploaded_most for result in lossy], "copies"),
    ):
        ledger.add(Figure.shown(f"{nodes}_{name}", values, unit=unit))
    lost = [run.lost_share * 100 for run in measured if run.lost_share is not None]
    if lost:
        ledger.add(Figure.shown(f"{nodes}_bed_lost", lost, unit="%", note=LOST_NOTE))
    note = "what the bed takes longer than the simulator for layers that hold next to nothing"
    ledger.add(Figure.shown(f"{nodes}_around", [simulated.around_s], unit="s", note=note))
    ledger.details += [{"nodes": shape.nodes, **run.details()} for run in measured]


def apart_percent(measured: float, simulated: float) -> float:
    """Return how far a measurement is from the simulation, in per cent of the latter."""
    return abs(measured / simulated - 1) * 100


def _counts(text: str) -> list[int]:
    counts = [int(part) for part in text.split(",")]
    if min(counts) < 1:
        raise argparse.ArgumentTypeError("must be 1 or more")
    return counts


if __name__ == "__main__":
    sys.exit(main())
