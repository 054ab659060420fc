"""Draws a run: nodes that are done, and the registry's traffic, over time."""

from pathlib import Path

from shoal.core.errors import SettingsError
from shoal.sim.registry import BIN_S
from shoal.sim.results import Results


class PlotUnavailable(SettingsError):
    """Matplotlib is not installed."""

    exit_code = 69  # EX_UNAVAILABLE of sysexits.h


def draw(results: Results, path: Path) -> None:
    """Write a picture of `results` to `path`, in the format that its name's ending says.

    Raises:
        PlotUnavailable: matplotlib, which Shoal does not need otherwise, is not there.
        OSError: the file cannot be written.
        ValueError: matplotlib does not know the format.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise PlotUnavailable(
            "drawing takes matplotlib, which is not installed: pip install 'shoal[plot]'"
        ) from error
    figure = Figure(figsize=(8, 6), layout="constrained")
    nodes, traffic = figure.subplots(2, 1, sharex=True)
    done = results.completions_s
    total = max(1, results.whole.nodes)
    nodes.step([0.0, *done], [100 * count / total for count in range(len(done) + 1)], where="post")
    nodes.axvline(results.whole.ideal_s, linestyle=":", color="grey")
    nodes.annotate("ideal", (results.whole.ideal_s, 2), color="grey")
    nodes.set_ylabel("nodes that are done, %")
    nodes.set_title(results.title)
    gbits = [count * 8 / BIN_S / 1e9 for count in results.registry_bins]
    traffic.step([number * BIN_S for number in range(len(gbits))], gbits, where="post")
    traffic.set_ylabel("registry sends, Gbit/s")
    traffic.set_xlabel("seconds since the first pull began")
    for axes in (nodes, traffic):
        axes.set_ylim(bottom=0)
        axes.grid(visible=True, alpha=0.3)
    figure.savefig(path)
