"""One measured number beside the bound that it has to keep."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Self

Wanted = Literal["at most", "at least", "shown"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One measured number: the median of its runs, beside the bound it has to keep.

    Make it with `at_most`, `at_least` or `shown`, which see to `value` and `ok`.

    Attributes:
        name: Says what was measured, in snake_case, as in the issue that asks for it.
        value: The median of `runs`, in `unit`.
        worst: The run furthest on the wrong side, in `unit`.
        bound: What `value` is held to, in `unit`; None where the figure is only shown.
        ok: Whether `value` keeps `bound`; True where there is none to miss.
        unit: For example "x ideal", "MiB" or "s"; "" for a plain number.
        wanted: Which side of the bound is the right one.
        runs: Every run, in order of time, in `unit`.
        note: What a reader has to know to read the number rightly; may be empty.
    """

    name: str
    value: float
    worst: float
    bound: float | None
    ok: bool
    unit: str
    wanted: Wanted
    runs: tuple[float, ...]
    note: str = ""

    @classmethod
    def at_most(
        cls, name: str, runs: Sequence[float], *, bound: float, unit: str = "", note: str = ""
    ) -> Self:
        """Make a figure whose median may not lie above `bound`.

        Raises:
            ValueError: There is no run.
        """
        return cls._of(name, runs, wanted="at most", bound=bound, unit=unit, note=note)

    @classmethod
    def at_least(
        cls, name: str, runs: Sequence[float], *, bound: float, unit: str = "", note: str = ""
    ) -> Self:
        """Make a figure whose median may not lie below `bound`.

        Raises:
            ValueError: There is no run.
        """
        return cls._of(name, runs, wanted="at least", bound=bound, unit=unit, note=note)

    @classmethod
    def shown(
        cls,
        name: str,
        runs: Sequence[float],
        *,
        unit: str = "",
        note: str = "",
        more_is_better: bool = False,
    ) -> Self:
        """Make a figure that has no bound: something to compare with.

        Raises:
            ValueError: There is no run.
        """
        return cls._of(
            name, runs, wanted="shown", unit=unit, note=note, more_is_better=more_is_better
        )

    @classmethod
    def _of(
        cls,
        name: str,
        runs: Sequence[float],
        *,
        wanted: Wanted,
        unit: str,
        note: str,
        bound: float | None = None,
        more_is_better: bool = False,
    ) -> Self:
        if not runs:
            raise ValueError(f"{name} was never measured")
        value = statistics.median(runs)
        return cls(
            name=name,
            value=value,
            worst=min(runs) if more_is_better or wanted == "at least" else max(runs),
            bound=bound,
            ok=_keeps(value, wanted, bound),
            unit=unit,
            wanted=wanted,
            runs=tuple(runs),
            note=note,
        )

    @property
    def worst_ok(self) -> bool:
        """Whether the worst run keeps the bound too."""
        return _keeps(self.worst, self.wanted, self.bound)

    @property
    def verdict(self) -> str:
        """The word that stands beside the bound."""
        if self.bound is None:
            return ""
        if not self.ok:
            return "MISSED"
        return "ok" if self.worst_ok else "ok, worst run missed"


def _keeps(value: float, wanted: Wanted, bound: float | None) -> bool:
    if bound is None:
        return True
    return value <= bound if wanted == "at most" else value >= bound


def number(value: float, unit: str) -> str:
    """Return a number with its unit, as pages show it."""
    # Three digits that count: more would claim a precision that five runs do not have.
    text = f"{value:.0f}" if abs(value) >= 1000 else f"{value:.3g}"
    return f"{text} {unit}".rstrip()
