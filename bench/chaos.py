"""Does a pull ever fail, hang or get a wrong byte while everything breaks?

The run of `./dev chaos` (docs/testing.md), an hour of it on eight nodes unless told otherwise, over
mutual TLS: containerd pulls on every node without a pause while agents, links, disks, clocks,
the registry, members and certificates break by a plan that is a pure function of the seed. Counted
is what the run's judge (`shoal.testing.chaos.judge`) found, reason by reason; the first problem of
each reason is on the results page.

An hour takes an hour.
"""

import sys
from collections import Counter
from collections.abc import Sequence

from bench.ledger import Figure, Ledger, parser
from shoal.testing.chaos.judge import (
    HANG_S,
    LEAST_SHARE,
    PULLS_A_MINUTE,
    Outcome,
    Problem,
    Reason,
)
from shoal.testing.chaos.run import Report, run_chaos

SEED = 1

# In the order and words of the results page. Each is to be 0.
COUNTED = {
    "failed_pulls": Reason.PULL_FAILED,
    "wrong_blobs": Reason.WRONG_BYTE,
    "hangs": Reason.HUNG,
    "growths": Reason.GREW,
}


def main() -> int:
    """Run, print, write down."""
    options = parser(__doc__, runs=1)
    options.add_argument("--minutes", type=float, default=60.0, metavar="M", help="(60)")
    options.add_argument("--nodes", type=int, default=8, metavar="N", help="that pull (8)")
    options.add_argument("--seed", type=int, default=SEED, metavar="S", help=f"({SEED})")
    options.add_argument("--plaintext", action="store_true", help="no TLS, nothing to rotate")
    args = options.parse_args()
    reports = [
        run_chaos(
            seed=args.seed + run,
            seconds=60 * args.minutes,
            nodes=args.nodes,
            say=lambda line: print(line, file=sys.stderr, flush=True),
            tls=not args.plaintext,
        )
        for run in range(args.runs)
    ]
    ledger = Ledger(
        "chaos", question="Does a pull fail, hang or get a wrong byte while everything breaks?"
    )
    _judged(ledger, reports)
    _seen(ledger, [report.outcome for report in reports])
    for report in reports:
        for line in _explained(report):
            ledger.note(line)
    return ledger.finish(args)


def _judged(ledger: Ledger, reports: Sequence[Report]) -> None:
    for name, reason in COUNTED.items():
        counts = [float(len(_of(report.problems, reason))) for report in reports]
        ledger.add(Figure.at_most(name, counts, bound=0))
    outcomes = [report.outcome for report in reports]
    slowest = [_pulls_a_minute(outcome) for outcome in outcomes]
    ledger.add(
        Figure.at_least(
            "pulls_a_minute", slowest, bound=PULLS_A_MINUTE, note="of the node that did fewest"
        )
    )
    shares = [outcome.shoal_share for outcome in outcomes]
    ledger.add(
        Figure.at_least(
            "share_through_shoal",
            shares,
            bound=LEAST_SHARE,
            note="of the pulled bytes; agents reach the registry through a proxy that breaks, "
            "containerd reaches it past that proxy",
        )
    )


def _seen(ledger: Ledger, outcomes: Sequence[Outcome]) -> None:
    pulls = [float(len(outcome.pulls)) for outcome in outcomes]
    ledger.add(Figure.shown("pulls", pulls, more_is_better=True))
    again = [float(sum(len(p.attempts) > 1 for p in outcome.pulls)) for outcome in outcomes]
    ledger.add(
        Figure.shown(
            "pulls_with_a_second_attempt",
            again,
            note="wrong bytes of the registry or of a signer may cost a pull one attempt",
        )
    )
    gaps = [
        max((a.longest_gap_s for p in outcome.pulls for a in p.attempts), default=0.0)
        for outcome in outcomes
    ]
    ledger.add(
        Figure.shown(
            "longest_without_a_byte", gaps, unit="s", note=f"a hang is {HANG_S:.0f} s or more"
        )
    )
    faults = [float(len(outcome.faults)) for outcome in outcomes]
    ledger.add(Figure.shown("faults", faults, more_is_better=True))


def _pulls_a_minute(outcome: Outcome) -> float:
    done = Counter(pull.node for pull in outcome.pulls if not pull.attempts[-1].error)
    return min(done[node] for node in range(outcome.nodes)) / outcome.seconds * 60


def _of(problems: Sequence[Problem], reason: Reason) -> list[Problem]:
    return [problem for problem in problems if problem.reason is reason]


def _explained(report: Report) -> list[str]:
    """Return what was broken how often, and the first problem of each reason."""
    outcome = report.outcome
    kinds = Counter(str(fault.kind) for fault in outcome.faults)
    broken = ", ".join(f"{kind} ({count})" for kind, count in kinds.most_common())
    reads = Counter(str(reading.outcome) for reading in outcome.readings)
    read = ", ".join(f"{count} {kind}" for kind, count in reads.most_common())
    return [
        f"Seed {report.seed}, {outcome.nodes} nodes, {outcome.seconds / 60:g} minutes: {broken}.",
        f"Stored blobs read back from agents: {read}.",
        *(
            f"{len(found)} x {found[0]}"
            for reason in Reason
            if (found := _of(report.problems, reason))
        ),
    ]


if __name__ == "__main__":
    sys.exit(main())
