"""Journal: every cause is named, no cause floods the log."""

import logging

import pytest

from shoal.agent.front.answers import Cause
from shoal.agent.front.journal import Journal
from shoal.agent.front.metrics import NoMetrics


class Causes(NoMetrics):
    """Remembers what was refused."""

    def __init__(self) -> None:
        self.seen: list[Cause] = []

    def refused(self, cause: Cause) -> None:
        """Note it."""
        self.seen.append(cause)


def test_a_line_names_the_cause_and_what_it_was_about(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="shoal.agent.front"):
        Journal().refused(Cause.METHOD, "PUT is not supported", fields={"status": 405})
    (record,) = caplog.records
    assert record.getMessage() == "front_request_refused"
    assert (record.__dict__["cause"], record.__dict__["status"]) == ("method", 405)
    assert record.__dict__["reason"] == "PUT is not supported"
    assert record.levelno == logging.WARNING


@pytest.mark.parametrize("cause", [Cause.UNKNOWN_REGISTRY, Cause.HALF_OPEN, Cause.TLS])
def test_what_is_usual_is_no_warning(cause: Cause, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="shoal.agent.front"):
        Journal().refused(cause, "as usual")
    assert caplog.records[0].levelno == logging.INFO


def test_a_flood_is_counted_whole_and_logged_in_part(caplog: pytest.LogCaptureFixture) -> None:
    now_s = 0.0
    metrics = Causes()
    journal = Journal(metrics, clock_s=lambda: now_s)
    with caplog.at_level(logging.INFO, logger="shoal.agent.front"):
        for _ in range(1000):
            journal.refused(Cause.METHOD, "PUT is not supported")
        journal.refused(Cause.RANGE, "another cause has lines of its own")
        assert len(caplog.records) == 6
        now_s = 11.0
        journal.refused(Cause.METHOD, "PUT is not supported")
    assert caplog.records[-1].__dict__["similar_left_out"] == 995
    assert len(metrics.seen) == 1002


def test_a_fault_is_logged_with_its_traceback(caplog: pytest.LogCaptureFixture) -> None:
    metrics = Causes()
    Journal(metrics).fault(RuntimeError("a bug"))
    assert caplog.records[0].exc_info is not None
    assert metrics.seen == [Cause.FAULT]
