"""What an API server can do to those who ask it."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal

Verb = Literal["get", "list", "watch", "create", "update", "patch", "delete"]


@dataclass(frozen=True, slots=True)
class Refuse:
    """Answer with a status: 410, 429, 5xx."""

    status: int
    retry_after_s: int | None = None


@dataclass(frozen=True, slots=True)
class Slow:
    """Answer, but only after a while."""

    delay_s: float


@dataclass(frozen=True, slots=True)
class Hang:
    """Accept the request and say nothing."""


@dataclass(frozen=True, slots=True)
class Cut:
    """Close the connection instead of answering."""


Fault = Refuse | Slow | Hang | Cut


@dataclass(slots=True)
class _Rule:
    fault: Fault
    verb: Verb | None
    times: int | None


@dataclass(slots=True)
class Faults:
    """The faults of a server, first come, first met."""

    _rules: list[_Rule] = field(default_factory=list)

    def add(self, fault: Fault, *, verb: Verb | None = None, times: int | None = 1) -> None:
        """Let the next `times` requests of `verb` (None: any) meet `fault`; None: all of them."""
        self._rules.append(_Rule(fault, verb, times))

    @contextmanager
    def during(self, fault: Fault, *, verb: Verb | None = None) -> Iterator[None]:
        """Let every request of `verb` meet `fault` for a while."""
        rule = _Rule(fault, verb, None)
        self._rules.append(rule)
        try:
            yield
        finally:
            self._rules.remove(rule)

    def meet(self, verb: Verb) -> Fault | None:
        """Return what a request meets, and count it."""
        for rule in self._rules:
            if rule.verb in (None, verb):
                if rule.times is not None:
                    rule.times -= 1
                    if rule.times <= 0:
                        self._rules.remove(rule)
                return rule.fault
        return None
