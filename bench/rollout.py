"""Rolls an image out to many nodes at once, through Shoal and straight from the registry.

Real containerd on each node of the test bed fetches a real image (`ctr content fetch`): every link
shaped, every store and content folder empty. The time of the last node is told as a multiple of
the ideal: no system can finish before each node's link has carried the image once, each site's
uplink once, and the registry's link once for each site.

Without options: 8 nodes at 100 Mbit/s, 160 MiB. Lists (`--nodes 1,2`) measure every combination,
each kept in a section of its own. `--scenario rolling`: all nodes hold a tag, and a fifth of them
at a time get the next one, which differs in one layer; the ideal is that of all waves together.
`--scenario churn`: of every eight nodes one loses power at 0.3 of the ideal time, one has its agent
restarted at 0.4, one has it killed at 0.5 and started again two seconds later.

A run through Shoal takes about the ideal time and 1 s for each node; one straight from the registry
takes the ideal time for each node of the largest site, or of all.
"""

import argparse
import sys
from pathlib import Path

from bench.ledger import Ledger, finish_all, parser
from bench.plot import Curves, draw
from bench.rollout_figures import add_direct, add_links, add_pairs, add_shoal, describe
from bench.rollout_runs import Stage, check_room, measure, measure_pairs
from bench.rollout_shape import Scenario, Shape, parse_size, shapes, size_text
from shoal.testing.bed.bed import Bed
from shoal.testing.bed.network import parse_rate
from shoal.testing.bed.processes import BedError
from shoal.testing.image import MIB, cached_image

CACHE = Path(__file__).parent.parent / ".cache" / "images"
QUESTION = "How near to ideal is a rollout to many nodes at once?"
IMAGE_BYTES = 160 * MIB


def main() -> int:
    """Measure, print, write down."""
    options = _parser()
    args = options.parse_args()
    try:
        wanted = list(
            shapes(
                nodes=args.nodes,
                rates=args.rate,
                registry_rates=args.registry_rate,
                image_bytes=args.image_size,
                sites=args.sites,
                uplink=args.uplink,
                stagger_s=args.stagger,
                scenario=args.scenario,
            )
        )
        for shape in wanted:
            check_room(shape)
    except (ValueError, BedError) as error:
        options.error(str(error))
    ledgers, curves = [], []
    for shape in wanted:
        ledger, drawn = _measure(shape, args)
        ledgers.append(ledger)
        curves.append(drawn)
    code = finish_all(ledgers, args)
    if args.plot is not None:
        draw(curves, args.plot)
        print(f"Drawn to {args.plot}")
    return code


def _parser() -> argparse.ArgumentParser:
    options = parser(__doc__, runs=5)
    options.add_argument("--nodes", type=_counts, default=[8], help="how many nodes (8)")
    options.add_argument(
        "--rate", type=_rates, default=["100mbit"], help="of every node's link (100mbit)"
    )
    options.add_argument(
        "--registry-rate", type=_rates, help="of the registry's link; default: as the nodes'"
    )
    options.add_argument(
        "--image-size",
        type=_size,
        default=IMAGE_BYTES,
        metavar="SIZE",
        help=f"of the image, compressed: 200MB, or so many MiB ({size_text(IMAGE_BYTES)})",
    )
    options.add_argument("--sites", type=int, default=1, help="so many groups of nodes (1)")
    options.add_argument("--uplink", type=_rate, help="of each site; default: none, one switch")
    options.add_argument(
        "--stagger",
        type=float,
        default=0.0,
        metavar="SECONDS",
        help="how long after the first the last node begins (0)",
    )
    options.add_argument(
        "--scenario",
        type=Scenario,
        choices=list(Scenario),
        default=Scenario.COLD,
        help="cold, rolling or churn (cold)",
    )
    options.add_argument("--direct", action="store_true", help="only without Shoal")
    options.add_argument(
        "--direct-runs", type=int, default=1, help="runs without Shoal beside the others (1)"
    )
    options.add_argument(
        "--pairs",
        action="store_true",
        help="as many runs without Shoal, in turns, and the time as a multiple of theirs",
    )
    options.add_argument(
        "--memory",
        action="store_true",
        help="keep all storage in memory, where a disk would be slower than the links",
    )
    options.add_argument(
        "--tls", action="store_true", help="peers with certificates: TLS and receipts between them"
    )
    options.add_argument(
        "--plot", type=Path, metavar="OUT.PNG", help="draw who was done and what was sent when"
    )
    return options


def _counts(text: str) -> list[int]:
    counts = [int(part) for part in text.split(",")]
    if min(counts) < 1:
        raise argparse.ArgumentTypeError("must be 1 or more")
    return counts


def _rate(text: str) -> str:
    try:
        parse_rate(text)
    except BedError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    return text.strip()


def _rates(text: str) -> list[str]:
    return [_rate(part) for part in text.split(",")]


def _size(text: str) -> int:
    try:
        return parse_size(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _measure(shape: Shape, args: argparse.Namespace) -> tuple[Ledger, Curves]:
    image = cached_image(CACHE, size_bytes=shape.image_bytes)
    way = ", in pairs with direct fetches" if args.pairs else ", direct" if args.direct else ""
    kept = ", in memory" if args.memory else ""
    tls = ", TLS" if args.tls else ""
    ledger = Ledger("rollout", question=QUESTION, section=shape.name + kept + tls + way)
    print(f"{ledger.section}:", file=sys.stderr, flush=True)
    with Bed(sites=shape.bed_sites(), registry_rate=shape.registry_rate, tls=args.tls) as bed:
        stage = Stage(bed, shape, image, in_memory=args.memory)
        goodputs = stage.link_goodputs()
        ideal_s = shape.ideal_s(stage.lacking_bytes, share=stage.share(goodputs))
        add_links(ledger, shape, goodputs, ideal_s=ideal_s)
        curves = Curves(ledger.section, ideal_s=ideal_s)
        if args.pairs:
            pairs = measure_pairs(stage, count=args.runs, ideal_s=ideal_s)
            curves.shoal, curves.direct = [a for a, _ in pairs], [b for _, b in pairs]
            add_pairs(ledger, shape, pairs)
        elif not args.direct:
            curves.shoal = measure(stage, count=args.runs, through_agents=True, ideal_s=ideal_s)
        direct_runs = args.runs if args.direct else 0 if args.pairs else args.direct_runs
        if direct_runs:
            curves.direct = measure(stage, count=direct_runs, through_agents=False, ideal_s=ideal_s)
        if curves.shoal:
            add_shoal(ledger, shape, curves.shoal, ideal_s=ideal_s)
        if curves.direct:
            add_direct(ledger, curves.direct, ideal_s=ideal_s)
    ledger.note(describe(shape, image, in_memory=args.memory))
    if args.tls:
        ledger.note("Peers have certificates: mutual TLS 1.3 between them, and signed receipts.")
    return ledger, curves


if __name__ == "__main__":
    sys.exit(main())
