"""What a chaos run must have been like; pure, so that each reason to fail has a test of its own."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from statistics import median

from shoal.testing.chaos.plan import Fault

HANG_S = 15.0
PULLS_A_MINUTE = 6
LEAST_SHARE = 0.5  # of the bytes that have to come through Shoal
# In a minute one long fault weighs a tenth of the pulls: there 49 to 75 % were seen.
SHORT_S = 300.0
LEAST_SHARE_SHORT = 0.33
# Wrong bytes that a node took in under a lie may meet their reader somewhat after its end.
LIE_LASTS_ON_S = 15.0
# What containerd says of content that has another digest than it asked for.
WRONG_DIGEST = "unexpected commit digest"

# Ten times what an agent of the bench takes: a bound for one that grows without one.
MOST_RSS_BYTES = 400 << 20
MOST_FDS = 600
MOST_THREADS = 64
# Growth is judged over samples enough that one burst does not decide.
TREND_SAMPLES = 20
TREND_SHARE = 1.25
TREND_FLOOR = {"rss_bytes": 20 << 20, "fds": 50, "threads": 8}


class Reason(StrEnum):
    """Why a run fails."""

    PULL_FAILED = "a pull failed that would have worked without Shoal"
    WRONG_BYTE = "wrong bytes were served as a whole blob"
    HUNG = "nothing moved for too long"
    GREW = "something grew without bound"
    TOO_FEW = "too few pulls to prove anything"
    BYPASSED = "too few bytes came through Shoal"


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt at a pull; times in seconds since the beginning of the run."""

    began_s: float
    ended_s: float
    error: str  # "" for one that succeeded
    longest_gap_s: float  # the longest time in which containerd got nothing


@dataclass(frozen=True, slots=True)
class PullRecord:
    """A pull of one image on one node: attempts until one succeeded, or none did."""

    node: int
    reference: str
    size_bytes: int
    attempts: tuple[Attempt, ...]

    def __str__(self) -> str:
        said = "; ".join(
            f"{a.began_s:.2f} s to {a.ended_s:.2f} s, longest without a byte "
            f"{a.longest_gap_s:.1f} s: {a.error or 'succeeded'}"
            for a in self.attempts
        )
        return f"n{self.node + 1} {self.reference}: {said}"


class Read(StrEnum):
    """How reading a stored blob from an agent's front ended."""

    RIGHT = "right"
    ENDED_EARLY = "ended early"  # a refusal or a cut: the client asks elsewhere
    WRONG = "wrong"
    HUNG = "hung"


@dataclass(frozen=True, slots=True)
class Reading:
    """One blob read whole from an agent, and compared."""

    node: int
    digest: str
    at_s: float
    outcome: Read


@dataclass(frozen=True, slots=True)
class Sample:
    """What an agent took at one moment."""

    node: int
    at_s: float
    rss_bytes: int
    fds: int
    threads: int
    store_bytes: int


@dataclass(frozen=True, slots=True)
class Outcome:
    """All that was seen of a run."""

    seconds: float
    nodes: int
    faults: Sequence[Fault]
    pulls: Sequence[PullRecord]
    readings: Sequence[Reading]
    samples: Sequence[Sample]
    bypassed_bytes: int  # what containerds fetched from the registry themselves
    store_most_bytes: int  # what a store may take on its disk

    @property
    def shoal_share(self) -> float:
        """Which part of the bytes came through Shoal, 0 to 1."""
        pulled = sum(pull.size_bytes for pull in self.pulls)
        return 1 - min(1.0, self.bypassed_bytes / pulled) if pulled else 0.0


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing for which the run fails."""

    reason: Reason
    text: str
    node: int | None = None

    def __str__(self) -> str:
        return f"{self.reason}: {self.text}"


def judge(outcome: Outcome) -> list[Problem]:
    """Return everything for which a run fails; nothing if it passed."""
    return [
        *_failed(outcome),
        *_hung(outcome.pulls),
        *_read_wrong(outcome.readings),
        *_grew(outcome),
        *_too_few(outcome),
    ]


def _failed(outcome: Outcome) -> Iterator[Problem]:
    lies = [fault for fault in outcome.faults if fault.is_lie]
    for pull in outcome.pulls:
        for number, attempt in enumerate(pull.attempts):
            excused = number == 0 and len(pull.attempts) > 1 and _lied_to(attempt, lies)
            if attempt.error and not excused:
                yield Problem(Reason.PULL_FAILED, str(pull), pull.node)
                break


def _lied_to(attempt: Attempt, lies: Iterable[Fault]) -> bool:
    """Whether an attempt failed for wrong bytes while somebody was sending some."""
    return WRONG_DIGEST in attempt.error and any(
        lie.at_s <= attempt.ended_s and attempt.began_s <= lie.until_s + LIE_LASTS_ON_S
        for lie in lies
    )


def _hung(pulls: Iterable[PullRecord]) -> Iterator[Problem]:
    for pull in pulls:
        if any(attempt.longest_gap_s >= HANG_S for attempt in pull.attempts):
            yield Problem(Reason.HUNG, str(pull), pull.node)


def _read_wrong(readings: Iterable[Reading]) -> Iterator[Problem]:
    reasons = {Read.WRONG: Reason.WRONG_BYTE, Read.HUNG: Reason.HUNG}
    for reading in readings:
        if (reason := reasons.get(reading.outcome)) is not None:
            text = f"{reading.digest} from the agent of n{reading.node + 1} at {reading.at_s:.2f} s"
            yield Problem(reason, text, reading.node)


def _grew(outcome: Outcome) -> Iterator[Problem]:
    most = {
        "rss_bytes": MOST_RSS_BYTES,
        "fds": MOST_FDS,
        "threads": MOST_THREADS,
        "store_bytes": outcome.store_most_bytes,
    }
    for node in range(outcome.nodes):
        own = [sample for sample in outcome.samples if sample.node == node]
        for name, bound in most.items():
            values = [int(getattr(sample, name)) for sample in own]
            if values and max(values) > bound:
                text = f"{name} of n{node + 1} reached {max(values)}; the bound is {bound}"
                yield Problem(Reason.GREW, text, node)
            elif name in TREND_FLOOR and (grown := _grown(values, floor=TREND_FLOOR[name])):
                yield Problem(Reason.GREW, f"{name} of n{node + 1} went from {grown}", node)


def _grown(values: Sequence[int], *, floor: int) -> str:
    """Return from what to what the middle of the values grew, or "" if it did not."""
    third = len(values) // 3
    if third < TREND_SAMPLES:
        return ""
    first, last = median(values[third : 2 * third]), median(values[-third:])
    return f"{first:.0f} to {last:.0f}" if last > first * TREND_SHARE + floor else ""


def _too_few(outcome: Outcome) -> Iterator[Problem]:
    done = Counter(pull.node for pull in outcome.pulls if not pull.attempts[-1].error)
    wanted = int(PULLS_A_MINUTE * outcome.seconds / 60)
    for node in range(outcome.nodes):
        if done[node] < wanted:
            text = f"n{node + 1} did {done[node]}; {wanted} were to be done"
            yield Problem(Reason.TOO_FEW, text, node)
    least = LEAST_SHARE if outcome.seconds >= SHORT_S else LEAST_SHARE_SHORT
    if outcome.pulls and outcome.shoal_share < least:
        text = f"{outcome.shoal_share:.0%} of the bytes; {least:.0%} were to come so"
        yield Problem(Reason.BYPASSED, text)
