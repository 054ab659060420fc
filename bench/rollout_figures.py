"""The figures of a rollout: time and copies beside their bounds, and who used the processors."""

from collections.abc import Sequence

from bench.ledger import Figure, Ledger
from bench.next_tag import changed_layer
from bench.rollout_runs import Run
from bench.rollout_shape import PAIRS_BOUND, PAIRS_NODES_MOST, Scenario, Shape
from shoal.testing.image import BuiltImage

LOST_NOTE = "of all bytes that were sent: dropped by queues that were full, and sent again"
_BY = {
    "agents": "all agents",
    "containerd": "containerd and its clients",
    "registry": "nginx and the registry behind it",
    "rest": "nobody of these: the kernel's own work for the links, and what else ran",
    "softirq": "packets, in the kernel; it charges most of this also to whom it interrupts",
}


def add_links(ledger: Ledger, shape: Shape, goodputs: Sequence[float], *, ideal_s: float) -> None:
    """Add what links carry, and the ideal that follows."""
    ledger.add(
        Figure.shown(
            "link_goodput",
            [value / 1e6 for value in goodputs],
            unit="MB/s",
            more_is_better=True,
            note=f"one TCP stream into a node, whose link is of nominally {shape.rate}",
        )
    )
    ledger.add(Figure.shown("ideal", [ideal_s], unit="s", note="what the multiples refer to"))


def add_shoal(ledger: Ledger, shape: Shape, runs: Sequence[Run], *, ideal_s: float) -> None:
    """Add what runs through Shoal took."""
    bounds = shape.bounds if not any(f.name == "of_direct" for f in ledger.figures) else None
    last = [run.last_s / ideal_s for run in runs]
    copies = [run.worst_site_copies for run in runs]
    note = "blob bytes that the registry's nginx sent, over the layers' compressed sizes"
    if shape.scenario is Scenario.ROLLING:
        note = "the same of the layer that is new"
    if shape.sites > 1:
        note += "; of the site that asked for most"
    if bounds is None:
        ledger.add(Figure.shown("last_node", last, unit="x ideal"))
        ledger.add(Figure.shown("registry_copies", copies, unit="copies", note=note))
    else:
        ledger.add(Figure.at_most("last_node", last, bound=bounds.last_node, unit="x ideal"))
        ledger.add(
            Figure.at_most("registry_copies", copies, bound=bounds.copies, unit="copies", note=note)
        )
    median = [run.median_s for run in runs]
    ledger.add(
        Figure.shown("median_node", median, unit="s", note="from its own start to its own end")
    )
    if shape.scenario is Scenario.ROLLING:
        again = [run.again for run in runs]
        note = "of layers that every node had already"
        ledger.add(Figure.shown("copies_again", again, unit="copies", note=note))
    if shape.scenario is Scenario.CHURN:
        around = [run.direct_copies for run in runs]
        note = "of the registry's, fetched by containerd itself while its agent was away"
        ledger.add(Figure.shown("copies_around", around, unit="copies", note=note))
    most = [run.most_sent for run in runs]
    note = "sent to peers by the busiest node"
    ledger.add(Figure.shown("most_sent", most, unit="copies", note=note))
    lost = [run.lost_share * 100 for run in runs if run.lost_share is not None]
    if len(lost) == len(runs):
        ledger.add(Figure.shown("lost_on_links", lost, unit="%", note=LOST_NOTE))
    per_agent = [max(run.agents.values()) for run in runs]
    _add_rest(ledger, runs, prefix="")
    note = "of the agent that used most, from the first byte to the last"
    ledger.add(Figure.shown("cpu_busiest_agent", per_agent, unit="s", note=note))
    ledger.summary = (*ledger.summary, "last_node", "registry_copies", "cpu_idle")
    ledger.details += [{"through": "Shoal", **run.details()} for run in runs]


def add_direct(ledger: Ledger, runs: Sequence[Run], *, ideal_s: float) -> None:
    """Add what runs without Shoal took."""
    last = [run.last_s / ideal_s for run in runs]
    ledger.add(Figure.shown("direct_last_node", last, unit="x ideal", note="without Shoal"))
    copies = [run.copies for run in runs]
    ledger.add(Figure.shown("direct_registry_copies", copies, unit="copies"))
    _add_rest(ledger, runs, prefix="direct_")
    ledger.summary = (*ledger.summary, "direct_last_node", "direct_cpu_idle")
    ledger.details += [{"through": "nothing", **run.details()} for run in runs]


def add_pairs(ledger: Ledger, shape: Shape, pairs: Sequence[tuple[Run, Run]]) -> None:
    """Add how much longer runs through Shoal took than those that they were paired with."""
    ratios = [through.last_s / direct.last_s for through, direct in pairs]
    note = "time of the last node over that of the run without Shoal beside it"
    if shape.nodes <= PAIRS_NODES_MOST:
        figure = Figure.at_most("of_direct", ratios, bound=PAIRS_BOUND, unit="x direct", note=note)
    else:
        figure = Figure.shown("of_direct", ratios, unit="x direct", note=note)
    ledger.add(figure)
    ledger.summary = ("of_direct", *ledger.summary)


def describe(shape: Shape, image: BuiltImage, *, in_memory: bool) -> str:
    """Return what was measured, in words."""
    sizes = ", ".join(f"{layer.size_bytes / 1e6:.3g}" for layer in image.layers)
    nodes = f"{shape.nodes} nodes" if shape.nodes > 1 else "One node"
    text = f"{nodes} at {shape.rate} each way, the registry at {shape.registry_rate}"
    if shape.uplink is not None:
        text += f", each of {shape.sites} sites behind an uplink of {shape.uplink}"
    text += (
        f"; an image of {image.layer_bytes / 1e6:.1f} MB in {len(image.layers)} layers "
        f"({sizes} MB), from the machine's own Debian files. Default settings, agents started "
        "anew on empty stores and containerd on an empty root before every run; all of it runs "
        "on this one machine, whose free memory was made real before each run. Storage of the "
        f"registry, containerd and the agents {'in memory' if in_memory else 'on the disk'}."
    )
    if shape.scenario is Scenario.ROLLING:
        waves = shape.waves()
        new_mb = changed_layer(image).size_bytes / 1e6
        text += (
            f" Before the runs, though, all nodes have got this image; the next tag has one new "
            f"layer of {new_mb:.1f} MB, and {len(waves[0])} nodes at a time get it, "
            f"{len(waves)} times."
        )
    return text


def _add_rest(ledger: Ledger, runs: Sequence[Run], *, prefix: str) -> None:
    other = [run.other_bytes / 1e3 for run in runs]
    note = "manifests, tokens and all headers that the registry sent beside blobs"
    ledger.add(Figure.shown(f"{prefix}registry_other", other, unit="kB", note=note))
    idle = [run.machine.idle_share * 100 for run in runs]
    note = "of the machine, over the rollout"
    ledger.add(Figure.shown(f"{prefix}cpu_idle", idle, unit="%", note=note, more_is_better=True))
    by = [run.seconds_by() for run in runs]
    for who, note in _BY.items():
        if prefix and who == "agents":
            continue
        used = [seconds[who] for seconds in by]
        ledger.add(Figure.shown(f"{prefix}cpu_{who}", used, unit="s", note=note))
