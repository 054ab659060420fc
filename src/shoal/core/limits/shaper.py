"""Decides whose bytes go next so that all together keep to a rate, and every flow gets its share.

A flow is what the rate is shared between: a blob. Whoever wants to move bytes asks with a ticket;
`ready` returns the tickets whose turn has come. No ticket is split, so askers ask for little at a
time (`stretch_bytes`).
"""

# Theory of operation. A token bucket says when: it fills at the rate, and a ticket is given while
# there is anything in it at all, which may leave it in debt. While nobody waits it fills up to
# BURST_S of the rate; while somebody does, who is only late in looking, up to LATE_S. So what was
# given since any moment t ago is at most rate * (t + LATE_S) and one ticket. Start-time fair
# queueing says who: each flow has a virtual time that grows with the bytes it was given, and the
# flow that is furthest behind is next. A flow that was away comes back at the others' time, so
# that it neither has to wait for what it took before nor saves up turns.
# Source: Goyal, Vin, Cheng, "Start-time fair queueing", SIGCOMM 1996.

from collections import deque
from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from shoal.core.blob import KIB, MIB

# What may go at once after a pause, in seconds of the rate: hides the turns of an event loop.
BURST_S = 0.05
# How late a timer may fire before something of the rate is lost: longer than a busy loop's pauses.
LATE_S = 0.25
# One ticket, in seconds of the rate: small enough that a dozen flows at a low rate each move
# several times a second, for whoever waits a second without progress looks elsewhere.
STRETCH_S = 0.02
LEAST_STRETCH_BYTES, MOST_STRETCH_BYTES = 4 * KIB, 1 * MIB

Ticket = TypeVar("Ticket")


@dataclass(slots=True)
class _Flow(Generic[Ticket]):
    """What one flow waits for, and where it stands."""

    start: float = 0.0  # virtual time, in bytes
    tickets: deque[tuple[int, Ticket]] = field(default_factory=deque)


class Shaper(Generic[Ticket]):
    """One rate. Keeps no clock: every call brings `now_s`, of a clock that never goes back."""

    def __init__(self, rate_bytes_per_s: int, *, now_s: float) -> None:
        """Begin with a full bucket.

        Args:
            rate_bytes_per_s: more than 0.
            now_s: the time.
        """
        self._rate = rate_bytes_per_s
        self._tokens = rate_bytes_per_s * BURST_S
        self._filled_s = now_s
        self._now_bytes = 0.0  # virtual time of whoever was served last
        self._waiting: dict[Hashable, _Flow[Ticket]] = {}
        self._ahead: dict[Hashable, float] = {}  # flows that wait for nothing: where they stand

    @property
    def rate_bytes_per_s(self) -> int:
        """The rate."""
        return self._rate

    @property
    def stretch_bytes(self) -> int:
        """How much to ask for at a time."""
        return max(LEAST_STRETCH_BYTES, min(MOST_STRETCH_BYTES, int(self._rate * STRETCH_S)))

    @property
    def waiting(self) -> bool:
        """Whether any ticket waits."""
        return bool(self._waiting)

    def change(self, rate_bytes_per_s: int, *, now_s: float) -> None:
        """Go on at another rate; whoever waits keeps his place."""
        self._fill(now_s)
        if self._tokens < 0:  # a debt is a wait, and that does not grow longer by a lower rate
            self._tokens *= rate_bytes_per_s / self._rate
        self._rate = rate_bytes_per_s
        self._tokens = min(self._tokens, rate_bytes_per_s * LATE_S)

    def ask(self, flow: Hashable, size_bytes: int, ticket: Ticket, *, now_s: float) -> None:
        """Let `ticket` wait for its turn to move `size_bytes` of `flow`."""
        self._fill(now_s)
        waiting = self._waiting.get(flow)
        if waiting is None:
            start = max(self._now_bytes, self._ahead.pop(flow, 0.0))
            waiting = self._waiting[flow] = _Flow(start)
        waiting.tickets.append((size_bytes, ticket))

    def withdraw(self, flow: Hashable, ticket: Ticket) -> None:
        """Forget a ticket that waits; harmless if it does not."""
        waiting = self._waiting.get(flow)
        if waiting is None:
            return
        waiting.tickets = deque(entry for entry in waiting.tickets if entry[1] != ticket)
        if not waiting.tickets:
            self._rest(flow, waiting.start)

    def ready(self, *, now_s: float) -> list[Ticket]:
        """Return the tickets that may move their bytes now, in order; they are paid for."""
        self._fill(now_s)
        given: list[Ticket] = []
        while self._waiting and self._tokens > 0:
            flow, waiting = min(self._waiting.items(), key=lambda item: item[1].start)
            size_bytes, ticket = waiting.tickets.popleft()
            self._tokens -= size_bytes
            self._now_bytes = waiting.start
            waiting.start += size_bytes
            given.append(ticket)
            if not waiting.tickets:
                self._rest(flow, waiting.start)
        return given

    def due_s(self, *, now_s: float) -> float | None:
        """Return in how many seconds `ready` has something to give, or None if nobody waits."""
        if not self._waiting:
            return None
        self._fill(now_s)
        return max(0.0, -self._tokens / self._rate)

    def drain(self) -> list[Ticket]:
        """Return every ticket that waits, in no order that matters: there is no rate any more."""
        tickets = [ticket for flow in self._waiting.values() for _, ticket in flow.tickets]
        self._waiting.clear()
        return tickets

    def _fill(self, now_s: float) -> None:
        full = self._rate * (LATE_S if self._waiting else BURST_S)
        filled = min(full, self._tokens + (now_s - self._filled_s) * self._rate)
        self._tokens = max(self._tokens, filled)
        self._filled_s = now_s

    def _rest(self, flow: Hashable, start: float) -> None:
        """`flow` waits for nothing now; remember where it stands while that is ahead of others."""
        self._waiting.pop(flow, None)
        for other in [f for f, ahead in self._ahead.items() if ahead <= self._now_bytes]:
            del self._ahead[other]
        if start > self._now_bytes:
            self._ahead[flow] = start
