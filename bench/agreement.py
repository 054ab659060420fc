"""Does the simulator say what the test bed measures?

The same rollout in both: 8 and 16 nodes, every link shaped alike, the layers of the same image, all
nodes at the same moment, default settings. The bed's figures are of real containerd, agents and a
registry; the simulator's the median of several seeds. Compared are the last node's time and what
the registry sent.

A bed whose processors are busy measures those and not the swarm, and the simulator has none. So
links are slow here (400 Mbit/s for all nodes together), and a run says how much of the processors
was idle: where that is less than the bound, nothing was compared.

A run of the bed takes some 40 s at 8 nodes and 80 s at 16; those of the simulator a few seconds.
"""

import argparse
import statistics
import sys
from collections.abc import Sequence

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
from shoal.testing.image import cached_image

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
        simulated = [
            simulate(scenario_of(shape, layers, seed=seed)) for seed in range(1, SEEDS + 1)
        ]
        print(
            f"{shape.name}: simulated, last node "
            f"{', '.join(f'{result.whole.last_s:.2f}' for result in simulated)} s",
            file=sys.stderr,
            flush=True,
        )
        with Bed(sites=shape.bed_sites(), registry_rate=shape.registry_rate) as bed:
            stage = Stage(bed, shape, image, in_memory=False)
            measured = measure(
                stage,
                count=args.runs,
                through_agents=True,
                ideal_s=shape.ideal_s(image.layer_bytes, share=1.0),
            )
        add(ledger, shape, measured, simulated)
    ledger.note(
        f"An image of {image.layer_bytes / 1e6:.1f} MB in {len(layers)} layers, default settings, "
        f"links of {args.total} for all nodes together, the registry's as a node's. Simulated with "
        f"a round trip of {ROUND_TRIP_S * 1e3:g} ms and {SEEDS} seeds."
    )
    return ledger.finish(args)


def scenario_of(shape: Shape, layers: Sequence[int], *, seed: int) -> Scenario:
    """Return the simulator's scenario of what the bed is built as.

    Args:
        shape: the bed, of one site.
        layers: sizes, in the manifest's order.
        seed: of every random choice.
    """
    rate = parse_rate(shape.rate) // 8
    return Scenario(
        title=shape.name,
        seed=seed,
        registry=Registry(rate=parse_rate(shape.registry_rate) // 8, round_trip=ROUND_TRIP_S),
        sites=[Site(name="site", round_trip=ROUND_TRIP_S)],
        nodes=[Nodes(count=shape.nodes, rate=rate)],
        image=[Layer(size=size) for size in layers],
        layers_at_once=len(layers),  # `ctr content fetch` asks for all of them
    )


def add(
    ledger: Ledger, shape: Shape, measured: Sequence[Run], simulated: Sequence[Results]
) -> None:
    """Add what both said of one configuration, and how far they are apart."""
    last_s = statistics.median(result.whole.last_s for result in simulated)
    copies = statistics.median(result.copies for result in simulated)
    nodes = f"{shape.nodes}_nodes"
    ledger.add(
        Figure.at_most(
            f"{nodes}_time_apart",
            [apart_percent(run.last_s, last_s) for run in measured],
            bound=TIME_BOUND_PERCENT,
            unit="%",
            note=f"the last node's time on the bed, from the simulator's, at {shape.rate}",
        )
    )
    ledger.add(
        Figure.at_most(
            f"{nodes}_copies_apart",
            [apart_percent(run.copies, copies) for run in measured],
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
    for name, values, unit in (
        ("bed_last", [run.last_s for run in measured], "s"),
        ("sim_last", [result.whole.last_s for result in simulated], "s"),
        ("bed_median", [run.median_s for run in measured], "s"),
        ("sim_median", [result.whole.p50_s for result in simulated], "s"),
        ("bed_copies", [run.copies for run in measured], "copies"),
        ("sim_copies", [result.copies for result in simulated], "copies"),
        ("bed_most_sent", [run.most_sent for run in measured], "copies"),
        ("sim_most_sent", [result.uploaded_most for result in simulated], "copies"),
    ):
        ledger.add(Figure.shown(f"{nodes}_{name}", values, unit=unit))
    lost = [run.lost_share * 100 for run in measured if run.lost_share is not None]
    if lost:
        ledger.add(Figure.shown(f"{nodes}_bed_lost", lost, unit="%", note=LOST_NOTE))
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
