"""Results as a table for people."""

from shoal.core.units import format_size
from shoal.sim.results import Results, Times

_HEAD = ("nodes", "count", "done", "ideal", "p50", "p95", "p99", "p99.9", "last", "p99/ideal")


def table(results: Results) -> str:
    """Return one run as lines of text."""
    rows = [_HEAD, _row(results.whole)]
    if len(results.groups) > 1:
        rows += [_row(group) for group in results.groups]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEAD))]
    lines = [
        "  ".join(
            cell.ljust(width) if column == 0 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]
    return "\n".join([results.title, "", *lines, "", *_loads(results)])


def _row(times: Times) -> tuple[str, ...]:
    seconds = (times.p50_s, times.p95_s, times.p99_s, times.p999_s, times.last_s)
    return (
        times.name,
        str(times.nodes),
        str(times.finished),
        f"{times.ideal_s:.2f} s",
        *(f"{value:.2f} s" for value in seconds),
        f"{times.times_ideal(times.p99_s):.3f}",
    )


def _loads(results: Results) -> list[str]:
    peak_gbit = results.registry_peak_bytes_per_s * 8 / 1e9
    lines = [
        f"registry   {results.copies:.4f} copies a site, {format_size(results.registry_bytes)} in "
        f"{results.registry_requests} requests, at most {peak_gbit:.2f} Gbit/s in a second",
        f"nodes      upload at most {results.uploaded_most:.2f} x the image; "
        f"{results.wasted:.2%} of what arrived was not needed",
        f"messages   {results.messages_mean:.0f} into a node, {results.messages_most} into the "
        f"busiest, which has {results.handshakes_most} handshakes "
        f"(mean {results.handshakes_mean:.0f})",
    ]
    if results.registry_refused:
        lines.append(f"refused    {results.registry_refused} requests were answered 429")
    if results.gave_up:
        lines.append(f"gave up    {results.gave_up} nodes went to the registry by themselves")
    if results.alive_unfinished:
        lines.append(f"UNFINISHED {results.alive_unfinished} live nodes when the time was over")
    return lines
