"""`./dev chaos`: pulls by real containerd while things break at random, by a seed."""

import argparse
import secrets
import sys

from shoal.testing.bed.processes import BedError
from shoal.testing.chaos.run import run_chaos


def main() -> int:
    """Run; return 1 if the run failed, 2 if it could not be run."""
    parser = argparse.ArgumentParser(prog="./dev chaos", description=__doc__)
    parser.add_argument("--minutes", type=float, default=1.0, metavar="M", help="(1)")
    parser.add_argument("--seed", type=int, metavar="S", help="what breaks when; (a new one)")
    parser.add_argument("--nodes", type=int, default=4, metavar="N", help="that pull (4)")
    parser.add_argument(
        "--no-lies", action="store_true", help="no wrong bytes that are vouched for"
    )
    parser.add_argument(
        "--tls", action="store_true", help="agents have certificates, which are replaced too"
    )
    parser.add_argument("--json", action="store_true", help="the result for a program")
    parser.add_argument("--keep", action="store_true", help="leave the bed's folder with its logs")
    arguments = parser.parse_args()
    if arguments.minutes < 0.5 or arguments.nodes < 2:
        parser.error("half a minute and two nodes are the least")
    seed = secrets.randbits(32) if arguments.seed is None else arguments.seed
    try:
        report = run_chaos(
            seed=seed,
            seconds=60 * arguments.minutes,
            nodes=arguments.nodes,
            lies=not arguments.no_lies,
            say=lambda line: print(line, file=sys.stderr, flush=True),
            keep=arguments.keep,
            tls=arguments.tls,
        )
    except BedError as error:
        print(f"chaos: seed {seed}: {error}", file=sys.stderr)
        return 2
    if arguments.json:
        print(report.as_json())
    else:
        print("\n".join(report.lines()))
    return 1 if report.problems else 0


if __name__ == "__main__":
    sys.exit(main())
