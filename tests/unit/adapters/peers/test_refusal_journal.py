"""What the log and the metric hear of peers that are refused."""

import logging

import pytest

from shoal.adapters.peers.refusal_journal import SAME_AGAIN_S, RefusalJournal
from shoal.core.trust.identity import Reason, Refused

EXPIRED = Refused(Reason.EXPIRED, "its certificate has expired")
REVOKED = Refused(Reason.REVOKED, "its certificate was revoked")


class Clock:
    """Seconds that a test sets."""

    now_s = 1000.0

    def __call__(self) -> float:
        """Return them."""
        return self.now_s


def test_the_same_of_the_same_address_is_written_once_in_a_while_and_always_counted(
    caplog: pytest.LogCaptureFixture,
) -> None:
    clock, counted = Clock(), list[Reason]()
    journal = RefusalJournal(clock_s=clock, count=counted.append)
    for _ in range(3):
        journal.refused("10.0.0.1", EXPIRED, peer="10.0.0.1:65002")
    journal.refused("10.0.0.1", REVOKED)
    journal.refused("10.0.0.2", EXPIRED)
    clock.now_s += SAME_AGAIN_S
    journal.refused("10.0.0.1", EXPIRED)
    said = [(r.__dict__["host"], r.__dict__["cause"]) for r in caplog.records]
    assert said == [
        ("10.0.0.1", "expired"),
        ("10.0.0.1", "revoked"),
        ("10.0.0.2", "expired"),
        ("10.0.0.1", "expired"),
    ]
    first = caplog.records[0]
    assert (first.getMessage(), first.levelno) == ("peer_refused", logging.WARNING)
    assert first.__dict__["peer"] == "10.0.0.1:65002"
    assert first.__dict__["reason"] == "its certificate has expired"
    assert len(counted) == 6


def test_a_flood_from_many_addresses_does_not_fill_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    clock, counted = Clock(), list[Reason]()
    journal = RefusalJournal(clock_s=clock, count=counted.append)
    for n in range(5000):
        journal.refused(f"10.0.{n // 256}.{n % 256}", EXPIRED)
    assert len(caplog.records) == 50
    clock.now_s += 10
    journal.refused("10.9.9.9", EXPIRED)
    assert len(caplog.records) == 51
    assert len(counted) == 5001
