"""The judge of a chaos run: it can fail a run for each reason, and lets a good one pass."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from shoal.testing.chaos.judge import (
    HANG_S,
    MOST_RSS_BYTES,
    WRONG_DIGEST,
    Attempt,
    Outcome,
    PullRecord,
    Read,
    Reading,
    Reason,
    Sample,
    judge,
)
from shoal.testing.chaos.plan import Fault, FaultKind

OK = Attempt(1.0, 2.0, "", 0.5)
WRONG = Attempt(1.0, 2.0, f"failed: {WRONG_DIGEST} sha256:00", 0.5)
LIE = Fault(0.5, FaultKind.REGISTRY_LIES, 3.0)


def pulls(*attempts: Attempt) -> list[PullRecord]:
    """Return enough pulls on two nodes, one of them of these attempts."""
    good = [PullRecord(n, "r/i:1", 100, (OK,)) for n in (0, 1) for _ in range(6)]
    return [*good, PullRecord(0, "r/i:2", 100, attempts)] if attempts else good


def outcome(
    *,
    faults: Sequence[Fault] = (),
    pulled: Sequence[PullRecord] | None = None,
    readings: Sequence[Reading] = (),
    samples: Sequence[Sample] = (),
    bypassed_bytes: int = 0,
) -> Outcome:
    """Return a run of a minute on two nodes in which all went well but for what is given."""
    return Outcome(
        seconds=60,
        nodes=2,
        faults=faults,
        pulls=pulls() if pulled is None else pulled,
        readings=readings,
        samples=samples,
        bypassed_bytes=bypassed_bytes,
        store_most_bytes=1000,
    )


def reasons(of: Outcome) -> list[Reason]:
    """Return what a run fails for."""
    return [problem.reason for problem in judge(of)]


def test_a_run_in_which_all_went_well_passes() -> None:
    assert judge(outcome(readings=[Reading(0, "sha256:0", 1, Read.RIGHT)])) == []


def test_a_pull_that_failed_fails_the_run_and_is_shown() -> None:
    (problem,) = judge(outcome(pulled=pulls(replace(OK, error="refused"))))
    assert problem.reason is Reason.PULL_FAILED
    assert "n1 r/i:2" in problem.text
    assert "refused" in problem.text


def test_a_pull_that_failed_once_fails_the_run_also_if_the_next_attempt_succeeds() -> None:
    assert reasons(outcome(pulled=pulls(replace(OK, error="refused"), OK))) == [Reason.PULL_FAILED]


def test_wrong_bytes_of_a_liar_may_cost_one_attempt() -> None:
    assert reasons(outcome(faults=[LIE], pulled=pulls(WRONG, OK))) == []


def test_wrong_bytes_may_not_cost_the_next_attempt_too() -> None:
    assert reasons(outcome(faults=[LIE], pulled=pulls(WRONG, WRONG))) == [Reason.PULL_FAILED]


@pytest.mark.parametrize(
    "faults",
    [[], [replace(LIE, at_s=100.0)], [Fault(0.5, FaultKind.LIAR, 3.0, None, "wrong-hash")]],
)
def test_wrong_bytes_without_a_liar_fail_the_run(faults: list[Fault]) -> None:
    assert reasons(outcome(faults=faults, pulled=pulls(WRONG, OK))) == [Reason.PULL_FAILED]


def test_a_pull_in_which_nothing_moved_for_long_fails_the_run() -> None:
    assert reasons(outcome(pulled=pulls(replace(OK, longest_gap_s=HANG_S)))) == [Reason.HUNG]


@pytest.mark.parametrize(
    ("read", "reason"), [(Read.WRONG, Reason.WRONG_BYTE), (Read.HUNG, Reason.HUNG)]
)
def test_a_stored_blob_that_is_served_wrong_or_never_fails_the_run(
    read: Read, reason: Reason
) -> None:
    assert reasons(outcome(readings=[Reading(0, "sha256:0", 1, read)])) == [reason]


def test_a_stored_blob_whose_sending_is_cut_is_asked_for_elsewhere() -> None:
    assert reasons(outcome(readings=[Reading(0, "sha256:0", 1, Read.ENDED_EARLY)])) == []


@pytest.mark.parametrize(
    "large",
    [{"rss_bytes": MOST_RSS_BYTES + 1}, {"fds": 10_000}, {"threads": 500}, {"store_bytes": 1001}],
)
def test_an_agent_beyond_a_bound_fails_the_run(large: dict[str, int]) -> None:
    sample = Sample(1, 1.0, 50 << 20, 30, 6, 900)
    assert reasons(outcome(samples=[sample])) == []
    assert reasons(outcome(samples=[replace(sample, **large)])) == [Reason.GREW]


@pytest.mark.parametrize(("mib_a_sample", "expected"), [(0, []), (1, [Reason.GREW])])
def test_an_agent_that_grows_all_the_time_fails_the_run(
    mib_a_sample: int, expected: list[Reason]
) -> None:
    samples = [Sample(0, float(n), (50 + n * mib_a_sample) << 20, 30, 6, 900) for n in range(180)]
    assert reasons(outcome(samples=samples)) == expected


def test_too_few_pulls_prove_nothing() -> None:
    few = [pull for pull in pulls() if pull.node == 0]
    (problem,) = judge(outcome(pulled=few))
    assert problem.reason is Reason.TOO_FEW
    assert "n2 did 0; 6 were to be done" in problem.text


def test_pulls_that_mostly_went_around_shoal_prove_nothing() -> None:
    assert reasons(outcome(bypassed_bytes=900)) == [Reason.BYPASSED]
    assert reasons(outcome(bypassed_bytes=700)) == [], "in a minute one long fault weighs much"
    long = replace(outcome(pulled=pulls() * 5), seconds=300, bypassed_bytes=5 * 700)
    assert [problem.reason for problem in judge(long)] == [Reason.BYPASSED]
    assert judge(replace(long, bypassed_bytes=5 * 500)) == []
