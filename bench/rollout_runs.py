"""Carries a rollout out on the test bed, in one of its scenarios, and adds up what it took."""

import os
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.backed_memory import back_memory
from bench.memory_disks import (
    keep_containerd_in_memory,
    keep_registry_in_memory,
    remove_agent_in_memory,
)
from bench.next_tag import changed_layer, next_tag
from bench.rollout_shape import Churn, Scenario, Shape
from shoal.testing.bed.bed import Bed
from shoal.testing.bed.measure import (
    Rollout,
    check_complete,
    counting,
    goodput,
    make_cold,
    rollout,
)
from shoal.testing.bed.network import Host, parse_rate
from shoal.testing.bed.node import Node
from shoal.testing.bed.processes import BedError
from shoal.testing.bed.race import Happening
from shoal.testing.bed.usage import MachineTime
from shoal.testing.image import MIB, BuiltImage

REPOSITORY = "library/rollout"
# An agent's start takes half a second of a processor: more of them at once only wait for it.
_AGENTS_AT_ONCE = 8
_GOODPUT_TIMES = 3
_BACK_AFTER_S = 2.0
# containerd's, the agent's, and some room; but never so much that others would be in need.
_FILES_OF_A_COPY = 3
_FREE_SHARE = 0.6
_SENT = "shoal_peer_sent_bytes_total"


@dataclass(frozen=True, slots=True)
class Run:
    """One rollout, of one wave or of several that follow each other."""

    waves: tuple[Rollout, ...]
    most_sent: float  # copies that the busiest node sent to peers
    again: float = 0.0  # copies of layers that every node had already

    @property
    def last_s(self) -> float:
        """How long it took, all waves together."""
        return sum(wave.last_s for wave in self.waves)

    @property
    def median_s(self) -> float:
        """How long a node takes from its own start, in the middle of all of them."""
        return statistics.median(
            fetch.seconds - fetch.began_s for wave in self.waves for fetch in wave.done
        )

    @property
    def copies(self) -> float:
        """What the registry sent."""
        return sum(wave.copies for wave in self.waves)

    @property
    def worst_site_copies(self) -> float:
        """What the registry sent to the site that asked for most."""
        sites: Counter[int] = Counter()
        for wave in self.waves:
            sites.update(wave.site_copies)
        return max(sites.values())

    @property
    def direct_copies(self) -> float:
        """What containerd fetched around the agents."""
        return sum(wave.direct_copies for wave in self.waves)

    @property
    def other_bytes(self) -> int:
        """Manifests, tokens and all headers that the registry sent beside blobs."""
        return sum(w.traffic.manifest_bytes + w.traffic.header_bytes for w in self.waves)

    @property
    def machine(self) -> MachineTime:
        """The machine's time."""
        parts = [wave.costs.machine for wave in self.waves]
        return MachineTime(
            sum(part.idle_s for part in parts),
            sum(part.softirq_s for part in parts),
            sum(part.steal_s for part in parts),
            sum(part.total_s for part in parts),
        )

    @property
    def agents(self) -> dict[str, float]:
        """Each agent's processor seconds."""
        names = dict.fromkeys(name for wave in self.waves for name in wave.costs.agents)
        return {name: sum(w.costs.agents.get(name, 0.0) for w in self.waves) for name in names}

    @property
    def lost_share(self) -> float | None:
        """Which part of all bytes full queues dropped; None where a node was lost."""
        shares = [wave.lost_share for wave in self.waves if wave.lost_share is not None]
        return statistics.fmean(shares) if len(shares) == len(self.waves) else None

    def seconds_by(self) -> dict[str, float]:
        """Return processor seconds by who used them."""
        return {
            "agents": sum(wave.costs.agents_s for wave in self.waves),
            "containerd": sum(wave.costs.containerd_s + wave.costs.ctr_s for wave in self.waves),
            "registry": sum(wave.costs.registry_s for wave in self.waves),
            "rest": sum(wave.costs.rest_s for wave in self.waves),
            "softirq": self.machine.softirq_s,
        }

    def details(self) -> dict[str, Any]:
        """Return what a later reader may want of each node."""
        fetches = [fetch for wave in self.waves for fetch in wave.fetches]
        return {
            "seconds": {f.node: round(f.seconds, 3) for f in fetches if not f.lost},
            "lost": [fetch.node for fetch in fetches if fetch.lost],
            "agents_cpu_s": {name: round(used_s, 2) for name, used_s in self.agents.items()},
            "steal_s": round(self.machine.steal_s, 2),
        }


class Stage:
    """One configuration's bed, with the image pushed."""

    def __init__(self, bed: Bed, shape: Shape, image: BuiltImage, *, in_memory: bool) -> None:
        """Push the image.

        Args:
            bed: up, and nobody has used it.
            shape: what it was built for.
            image: to roll out.
            in_memory: keep registry, containerd and agents in memory, not on the disk.
        """
        self.bed = bed
        self.shape = shape
        self.image = image
        # An agent leaves 1 GiB of its disk free, and next tags come on top.
        self._room_bytes = 3 * image.layer_bytes + (1024 + 64) * MIB if in_memory else None
        if self._room_bytes is not None:
            keep_registry_in_memory(bed, size_bytes=self._room_bytes)
            for node in bed.nodes:
                keep_containerd_in_memory(node, size_bytes=self._room_bytes)
        self.reference = bed.registry.push(image, repository=REPOSITORY)
        self._rolled = 0  # next tags so far
        self._prepared = False

    @property
    def lacking_bytes(self) -> int:
        """What each node has to fetch in a run."""
        if self.shape.scenario is not Scenario.ROLLING:
            return self.image.layer_bytes
        return changed_layer(self.image).size_bytes

    def link_goodputs(self) -> list[float]:
        """Measure what a node's link carries, in bytes a second."""
        first = self.bed.nodes[0]
        source = self._goodput_source(first)
        return [goodput(source, first.host) for _ in range(_GOODPUT_TIMES)]

    def share(self, goodputs: Sequence[float]) -> float:
        """Return payload over nominal rate, the same on every link here."""
        rates = [self.shape.rate]
        if self._goodput_source(self.bed.nodes[0]) is self.bed.registry.host:
            rates += [self.shape.registry_rate, *filter(None, [self.shape.uplink])]
        return statistics.median(goodputs) / (min(map(parse_rate, rates)) / 8)

    def _goodput_source(self, node: Node) -> Host:
        near = [other for other in self.bed.nodes if other is not node and other.site == node.site]
        return near[-1].host if near else self.bed.registry.host

    def run(self, *, through_agents: bool, ideal_s: float) -> Run:
        """Carry out one run.

        Raises:
            BedError: a node that was to succeed did not.
        """
        if self.shape.scenario is Scenario.ROLLING:
            return self._rolling(through_agents=through_agents)
        self._make_cold(through_agents=through_agents)
        happenings = []
        if self.shape.scenario is Scenario.CHURN:
            happenings = self._mishaps(ideal_s, with_agents=through_agents)
        self._back_memory()
        rolled = rollout(
            self.bed,
            self.image,
            self.reference,
            delays=self.shape.delays(),
            happenings=happenings,
        )
        check_complete(rolled, self.bed, self.image)
        return Run((rolled,), self._most_sent(self.image.layer_bytes) if through_agents else 0.0)

    def _make_cold(self, *, through_agents: bool) -> None:
        self.bed.heal()  # after churn
        if self._room_bytes is not None:
            for node in self.bed.nodes:
                if node.has_agent:
                    remove_agent_in_memory(node)
        make_cold(self.bed)
        if through_agents:
            nodes = self.bed.nodes
            if self._room_bytes is not None:
                for node in nodes:
                    node.use_small_disk(self._room_bytes)
            for begin in range(0, len(nodes), _AGENTS_AT_ONCE):
                self.bed.start_agents(nodes=nodes[begin : begin + _AGENTS_AT_ONCE])

    def _back_memory(self) -> None:
        """Make the memory real that the nodes' files will take: see `backed_memory`."""
        wanted_bytes = _FILES_OF_A_COPY * self.shape.nodes * self.image.layer_bytes
        free_bytes = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        back_memory(min(wanted_bytes, int(_FREE_SHARE * free_bytes)))

    def _rolling(self, *, through_agents: bool) -> Run:
        if not self._prepared:
            # Every node gets the older tag first; what that takes is the cold scenario's figure.
            self._make_cold(through_agents=through_agents)
            check_complete(rollout(self.bed, self.image, self.reference), self.bed, self.image)
            self._prepared = True
        self._rolled += 1
        with tempfile.TemporaryDirectory() as folder:
            tagged, new = next_tag(self.image, Path(folder) / "image")
            tag = f"next-{self._rolled}"
            reference = self.bed.registry.push(tagged, repository=REPOSITORY, tag=tag)
            counted = counting(tagged, [new])
            before = self._sent()
            mark = self.bed.registry.mark()
            waves = []
            for wave in self.shape.waves():
                nodes = [self.bed.nodes[number] for number in wave]
                waves.append(rollout(self.bed, counted, reference, nodes=nodes))
                check_complete(waves[-1], self.bed, tagged)
            kept = counting(tagged, [x for x in tagged.layers if x.digest != new.digest])
            again = self.bed.registry.traffic(kept, since=mark).blob_bytes / kept.layer_bytes
        sent = {name: size - before.get(name, 0.0) for name, size in self._sent().items()}
        return Run(tuple(waves), max(sent.values(), default=0.0) / new.size_bytes, again)

    def start_over(self) -> None:
        """Forget what a rolling update needs before: the next run goes another way."""
        self._prepared = False

    def _sent(self) -> dict[str, float]:
        return {
            node.name: node.agent.metrics()[_SENT]
            for node in self.bed.nodes
            if node.has_agent and node.agent.service.running
        }

    def _most_sent(self, size_bytes: int) -> float:
        return max(self._sent().values(), default=0.0) / size_bytes

    def _mishaps(self, ideal_s: float, *, with_agents: bool) -> list[Happening]:
        """Return what befalls whom, and when in multiples of the ideal time."""
        churn, nodes = Churn.of(self.shape.nodes), self.bed.nodes
        found = [
            Happening(
                0.3 * ideal_s,
                f"{nodes[number].name} loses power",
                lambda node=nodes[number]: self._lose(node),  # type: ignore[misc]
                loses=nodes[number].name,
            )
            for number in churn.lost
        ]
        if not with_agents:
            return found
        for at, whom, what in (
            (0.4, churn.restarted, _restart),
            (0.5, churn.killed, _kill_and_start),
        ):
            found += [
                Happening(
                    at * ideal_s,
                    f"the agent of {nodes[number].name}: {what.__name__}",
                    lambda what=what, node=nodes[number]: what(node),  # type: ignore[misc]
                )
                for number in whom
            ]
        return found

    def _lose(self, node: Node) -> None:
        self.bed.network.cut(node.name)
        if node.has_agent:
            node.agent.kill()
        node.containerd.kill()


def _restart(node: Node) -> None:
    node.agent.restart()


def _kill_and_start(node: Node) -> None:
    node.agent.kill()
    time.sleep(_BACK_AFTER_S)
    node.agent.start(wait=False)


def measure(stage: Stage, *, count: int, through_agents: bool, ideal_s: float) -> list[Run]:
    """Carry out so many runs, and say on standard error what came of each."""
    stage.start_over()
    return [
        _said(stage.run(through_agents=through_agents, ideal_s=ideal_s), number, count, way)
        for way in ["through Shoal" if through_agents else "straight from the registry"]
        for number in range(1, count + 1)
    ]


def measure_pairs(stage: Stage, *, count: int, ideal_s: float) -> list[tuple[Run, Run]]:
    """Carry out pairs of runs, through Shoal and without; the first changes, so drift hits both."""
    pairs = []
    for number in range(1, count + 1):
        runs = {}
        for through_agents in (False, True) if number % 2 else (True, False):
            stage.start_over()
            way = "through Shoal" if through_agents else "straight from the registry"
            run = stage.run(through_agents=through_agents, ideal_s=ideal_s)
            runs[through_agents] = _said(run, number, count, way)
        pairs.append((runs[True], runs[False]))
    return pairs


def _said(run: Run, number: int, count: int, way: str) -> Run:
    used = ", ".join(f"{who} {used_s:.1f}" for who, used_s in run.seconds_by().items())
    print(
        f"run {number} of {count} {way}: last node {run.last_s:.2f} s, {run.copies:.3f} copies, "
        f"{run.machine.idle_share:.0%} of the CPU idle; CPU seconds: {used}",
        file=sys.stderr,
        flush=True,
    )
    return run


def check_room(shape: Shape) -> None:
    """Check that the bed has addresses for so many nodes.

    Raises:
        BedError: it has not.
    """
    if max(site.nodes for site in shape.bed_sites()) > 254 or shape.sites > 254:
        raise BedError("a site of the bed has 254 addresses at most, and there are 254 sites")
