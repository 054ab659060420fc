"""Draws rollouts: how many nodes are done after what time, and what the registry sends meanwhile.

matplotlib is imported only here, and only when something is drawn.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from bench.rollout_runs import Run
from shoal.testing.bed.measure import Rollout

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# A step of the registry's traffic is the mean over so long, or over a share of the whole.
_STEP_LEAST_S = 0.5
_STEPS = 40
_SHOAL, _DIRECT = "tab:blue", "tab:orange"


@dataclass(slots=True)
class Curves:
    """The runs of one configuration."""

    title: str
    ideal_s: float
    shoal: list[Run] = field(default_factory=list)
    direct: list[Run] = field(default_factory=list)


def draw(configurations: Sequence[Curves], out: Path) -> None:
    """Write a picture: for each configuration, completion above and the registry's traffic below.

    Raises:
        OSError: `out` cannot be written.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 5.5 * len(configurations)), layout="constrained")
    FigureCanvasAgg(figure)
    rows = figure.subplots(2 * len(configurations), 1, squeeze=False)[:, 0]
    for number, curves in enumerate(configurations):
        _draw_one(rows[2 * number], rows[2 * number + 1], curves)
    figure.savefig(out, dpi=120)


def _draw_one(above: "Axes", below: "Axes", curves: Curves) -> None:
    above.set_title(curves.title)
    above.axvline(curves.ideal_s, color="grey", linestyle=":", label="ideal")
    for runs, color, label in (
        (curves.shoal, _SHOAL, "through Shoal"),
        (curves.direct, _DIRECT, "straight from the registry"),
    ):
        for number, run in enumerate(runs):
            once = "" if number else label
            times, done = completion(run)
            above.step(times, done, where="post", color=color, alpha=0.7, label=once)
            times, rates = traffic(run)
            below.step(times, rates, where="post", color=color, alpha=0.7)
    above.set_ylabel("nodes that are done")
    below.set_ylabel("the registry sends, MB/s")
    below.set_xlabel("seconds from the start")
    above.set_ylim(bottom=0)
    below.set_ylim(bottom=0)
    above.legend(loc="best")


def completion(run: Run) -> tuple[list[float], list[int]]:
    """Return at what times, in seconds, how many nodes were done; waves follow each other."""
    ends = sorted(began_s + fetch.seconds for began_s, wave in _waves(run) for fetch in wave.done)
    return [0.0, *ends], list(range(len(ends) + 1))


def traffic(run: Run) -> tuple[list[float], list[float]]:
    """Return from what times on, in seconds, how many MB/s left the registry."""
    step_s = max(_STEP_LEAST_S, run.last_s / _STEPS)
    times, rates = [], []
    for began_s, wave in _waves(run):
        last_s, last_bytes = wave.sent[0]
        for at_s, sent_bytes in wave.sent[1:]:
            if at_s - last_s >= step_s or at_s == wave.sent[-1][0]:
                times.append(began_s + last_s)
                rates.append((sent_bytes - last_bytes) / max(at_s - last_s, 1e-3) / 1e6)
                last_s, last_bytes = at_s, sent_bytes
    return [*times, run.last_s], [*rates, 0.0]


def _waves(run: Run) -> Iterator[tuple[float, Rollout]]:
    began_s = 0.0
    for wave in run.waves:
        yield began_s, wave
        began_s += wave.last_s
