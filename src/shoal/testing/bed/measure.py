"""What the bed can measure: cold fetches on many nodes at once, and what a link really carries."""

import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from shoal.testing.bed import stream
from shoal.testing.bed.bed import Bed
from shoal.testing.bed.network import Host
from shoal.testing.bed.node import Node
from shoal.testing.bed.processes import BedError, bed_environment, in_namespace, run
from shoal.testing.bed.race import Fetch, Happening, Race
from shoal.testing.bed.traffic import Traffic
from shoal.testing.bed.usage import Costs, Watch, lost_share
from shoal.testing.image_layout import BuiltImage, Layer

FETCH_TIMEOUT_S = 600.0
_STREAM_PORT = 9000


@dataclass(frozen=True, slots=True)
class Rollout:
    """Fetches that began together, and what they cost."""

    fetches: tuple[Fetch, ...]
    traffic: Traffic
    copies: float  # the registry's blob bytes over the image's layers
    site_copies: Mapping[int, float]  # the same of what the nodes of each site asked for
    direct_copies: float  # the same of what containerd asked for itself, around the agents
    sent: tuple[tuple[float, int], ...]  # seconds, and bytes that had left the registry by then
    costs: Costs
    lost_share: float | None  # of all bytes sent, dropped by full queues; None if a node was lost

    @property
    def cpu_idle(self) -> float:
        """Share of the machine's processor time, 0 to 1; waiting for disks is idle too."""
        return self.costs.machine.idle_share

    @property
    def done(self) -> tuple[Fetch, ...]:
        """The fetches of all nodes that were not taken away."""
        return tuple(fetch for fetch in self.fetches if not fetch.lost)

    @property
    def last_s(self) -> float:
        """When the last node had everything, in seconds from the common start."""
        return max(fetch.seconds for fetch in self.done)

    @property
    def failed(self) -> tuple[Fetch, ...]:
        """The fetches that failed."""
        return tuple(fetch for fetch in self.done if fetch.error)


def rollout(
    bed: Bed,
    image: BuiltImage,
    reference: str,
    *,
    nodes: Sequence[Node] | None = None,
    timeout_s: float = FETCH_TIMEOUT_S,
    delays: Mapping[str, float] | None = None,
    happenings: Sequence[Happening] = (),
) -> Rollout:
    """Have all nodes fetch an image's content at the same moment, with `ctr content fetch`.

    The caller sees to it that it is cold: an image that no node has seen, or `make_cold`.

    Args:
        bed: whose nodes.
        image: what is counted as a copy; see `counting`.
        reference: of the image.
        nodes: those that fetch; None: all.
        timeout_s: after which a fetch is ended and counts as failed.
        delays: by name, how long after the common start a node begins.
        happenings: what is done to the bed meanwhile.

    Raises:
        BedError: a happening failed.
    """
    mark = bed.registry.mark()
    race = Race(
        [
            (node.name, node.containerd.fetch_command(reference))
            for node in (bed.nodes if nodes is None else nodes)
        ]
    )
    with Watch(bed) as watch:
        fetches = race.run(timeout_s=timeout_s, delays=delays, happenings=happenings)
    bed.registry.settle()
    by_site, direct = _blob_bytes(bed, image, since=mark)
    return Rollout(
        fetches=fetches,
        traffic=bed.registry.traffic(image, since=mark),
        copies=bed.registry.copies(image, since=mark),
        site_copies={site: sent / image.layer_bytes for site, sent in by_site.items()},
        direct_copies=direct / image.layer_bytes,
        sent=tuple(watch.sent),
        lost_share=None if watch.links is None else lost_share(watch.links),
        costs=watch.costs(ctr_s=sum(fetch.cpu_s for fetch in fetches)),
    )


def counting(image: BuiltImage, layers: Sequence[Layer]) -> BuiltImage:
    """Return `image` as if it had only these layers: what is then counted as a copy of it."""
    return replace(image, layers=tuple(layers))


def _blob_bytes(bed: Bed, image: BuiltImage, *, since: int) -> tuple[dict[int, int], int]:
    """Return what the registry sent of an image to each site, and to others than agents."""
    blobs = {layer.digest for layer in image.layers} | {image.config_digest}
    site_of = {
        address: node.site for node in bed.nodes for address in (node.host.ipv4, node.host.ipv6)
    }
    by_site = dict.fromkeys(sorted(set(site_of.values())), 0)
    direct = 0
    for request in bed.registry.requests(since=since):
        if request.blob_digest in blobs:
            by_site[site_of[request.client]] += request.body_bytes
            if not request.user_agent.startswith("shoal"):
                direct += request.body_bytes
    return by_site, direct


def make_cold(bed: Bed) -> None:
    """Take away what nodes have: containerd's content, agents and their stores."""
    bed.stop_agents()
    for node in bed.nodes:
        node.containerd.wipe()


def check_complete(rolled: Rollout, bed: Bed, image: BuiltImage) -> None:
    """Check that every fetch succeeded and every node that is left holds every layer.

    Raises:
        BedError: one does not; the message says which.
    """
    if rolled.failed:
        raise BedError("; ".join(f"{fetch.node}: {fetch.error}" for fetch in rolled.failed))
    by_name = {node.name: node for node in bed.nodes}
    for fetch in rolled.done:
        for layer in image.layers:
            if not by_name[fetch.node].containerd.has_content(layer.digest):
                raise BedError(f"{fetch.node} fetched without {layer.digest}")


def goodput(source: Host, destination: Host, *, seconds: float = 2.0, ipv6: bool = False) -> float:
    """Measure one TCP stream's payload from `source` to `destination`, in bytes a second.

    Raises:
        BedError: the stream broke.
    """
    address = source.ipv6 if ipv6 else source.ipv4
    script = [sys.executable, "-I", str(Path(stream.__file__))]
    sender = subprocess.Popen(
        in_namespace(source.namespace, [*script, "send", address, str(_STREAM_PORT)]),
        env=bed_environment(),
    )
    try:
        receive = [*script, "receive", address, str(_STREAM_PORT), f"{seconds:g}"]
        done = run(in_namespace(destination.namespace, receive), timeout_s=seconds + 20)
        return float(done.stdout)
    finally:
        sender.kill()
        sender.wait(10)
