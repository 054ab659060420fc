"""What a demo shows at its end: figures, as a table and as JSON."""

from collections.abc import Sequence
from dataclasses import dataclass

from rich.table import Table

from shoal.cli.pulling.watch import megabytes
from shoal.testing.demo.node_pull import Pulled
from shoal.testing.demo.site import Figures


@dataclass(frozen=True, slots=True)
class NodeOutcome:
    """One node: who it is, its client's pull, and what its agent counted."""

    name: str
    front: str
    pulled: Pulled
    figures: Figures | None  # None if the agent did not tell


@dataclass(frozen=True, slots=True)
class Outcome:
    """One demo."""

    nodes: Sequence[NodeOutcome]
    image_bytes: int  # config and layers
    origin_bytes: int  # of blobs, as the registry counted
    rate_bytes_per_s: int | None  # of the registry's link, None if it has no limit

    @property
    def origin_copies(self) -> float:
        """How often the registry sent the image."""
        return self.origin_bytes / self.image_bytes

    @property
    def peer_bytes(self) -> int:
        """Bytes that agents got from each other."""
        return sum(node.figures.peer_bytes for node in self.nodes if node.figures)

    @property
    def failed(self) -> list[NodeOutcome]:
        """Nodes without the image, with bytes that were not checked, or whose agent is silent."""
        return [
            node
            for node in self.nodes
            if node.pulled.error or not node.pulled.verified or node.figures is None
        ]

    @property
    def last_s(self) -> float:
        """When the last node had the image."""
        return max(node.pulled.seconds for node in self.nodes)

    @property
    def one_copy_s(self) -> float | None:
        """How long the registry's link takes for the image once."""
        if self.rate_bytes_per_s is None:
            return None
        return self.image_bytes / self.rate_bytes_per_s

    def as_json(self) -> dict[str, object]:
        """Return the figures for programs; a node that failed has no seconds."""
        return {
            "nodes": len(self.nodes),
            "image_bytes": self.image_bytes,
            "origin_bytes": self.origin_bytes,
            "origin_copies": round(self.origin_copies, 4),
            "peer_bytes": self.peer_bytes,
            "seconds_per_node": [
                None if node.pulled.error else round(node.pulled.seconds, 3) for node in self.nodes
            ],
            "verified_nodes": sum(node.pulled.verified for node in self.nodes),
        }

    def table(self) -> Table:
        """Return the figures for people."""
        table = Table(show_footer=True, padding=(0, 1))
        table.add_column("node", footer="all")
        table.add_column("agent", no_wrap=True)
        table.add_column("time", justify="right", footer=f"{self.last_s:.1f} s")
        table.add_column(
            "from registry",
            justify="right",
            no_wrap=True,
            footer=megabytes(sum(n.figures.origin_bytes for n in self.nodes if n.figures)),
        )
        table.add_column(
            "from peers", justify="right", no_wrap=True, footer=megabytes(self.peer_bytes)
        )
        good = len(self.nodes) - len(self.failed)
        table.add_column("verified", footer=f"{good} of {len(self.nodes)}", no_wrap=True)
        for node in self.nodes:
            table.add_row(
                node.name,
                node.front,
                "failed" if node.pulled.error else f"{node.pulled.seconds:.1f} s",
                megabytes(node.figures.origin_bytes) if node.figures else "?",
                megabytes(node.figures.peer_bytes) if node.figures else "?",
                "yes" if node.pulled.verified else "no",
            )
        return table

    def summary(self) -> str:
        """Return the point of it all, in two sentences."""
        count = len(self.nodes)
        text = (
            f"The registry sent {megabytes(self.origin_bytes)}, {self.origin_copies:.2f} copies of "
            f"the image, for {count} node{'s' if count > 1 else ''}."
        )
        if self.one_copy_s is None or self.rate_bytes_per_s is None:
            return text
        return (
            f"{text}\nIts link of {megabits(self.rate_bytes_per_s)} carries the image once in "
            f"{self.one_copy_s:.1f} s and {count} times in {count * self.one_copy_s:.1f} s, which "
            f"is what pulls straight from it would take (computed, not measured); the last node "
            f"here had it after {self.last_s:.1f} s."
        )


def megabits(rate_bytes_per_s: int) -> str:
    """Return a rate as links have them.

    >>> megabits(12_500_000)
    '100 Mbit/s'
    """
    return f"{rate_bytes_per_s * 8 / 1e6:g} Mbit/s"
