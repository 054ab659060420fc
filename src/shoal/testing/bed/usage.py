"""What runs on a bed while it runs: processor time by who used it, and the registry's traffic.

On one machine all nodes share its processors, so whether a figure says something about links or
about processors can only be seen here.
"""

import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from shoal.testing.bed.bed import Bed
from shoal.testing.bed.node import Node
from shoal.testing.bed.processes import BedError, Service, process_tree

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
TRAFFIC_INTERVAL_S = 0.25
_PROCESSES_EVERY = 4  # so many looks at the traffic: reading all of /proc is not for nothing


@dataclass(frozen=True, slots=True)
class CpuTime:
    """Processor time of a process, all its threads together, in seconds."""

    user_s: float
    system_s: float

    @classmethod
    def of(cls, pid: int) -> "CpuTime":
        """Return what process `pid` has used so far."""
        return parse_cpu_time(Path(f"/proc/{pid}/stat").read_text())

    @property
    def total_s(self) -> float:
        """Both."""
        return self.user_s + self.system_s

    def __sub__(self, other: "CpuTime") -> "CpuTime":
        return CpuTime(self.user_s - other.user_s, self.system_s - other.system_s)


def parse_cpu_time(stat: str) -> CpuTime:
    """Return the times in a `/proc/<pid>/stat`."""
    # proc(5): fields 14 and 15; counted after the command, which may hold blanks.
    fields = stat.rpartition(")")[2].split()
    return CpuTime(int(fields[11]) / _TICKS_PER_S, int(fields[12]) / _TICKS_PER_S)


@dataclass(frozen=True, slots=True)
class MachineTime:
    """The machine's processor time since boot, in seconds. See proc(5), /proc/stat."""

    idle_s: float  # waiting for disks is idle too
    softirq_s: float
    steal_s: float  # taken by other machines of the same host
    total_s: float

    @classmethod
    def now(cls) -> "MachineTime":
        """Return what the kernel says."""
        return parse_machine_time(Path("/proc/stat").read_text())

    def __sub__(self, other: "MachineTime") -> "MachineTime":
        return MachineTime(
            self.idle_s - other.idle_s,
            self.softirq_s - other.softirq_s,
            self.steal_s - other.steal_s,
            self.total_s - other.total_s,
        )

    @property
    def busy_s(self) -> float:
        """What somebody on this machine used."""
        return self.total_s - self.idle_s - self.steal_s

    @property
    def idle_share(self) -> float:
        """Idle over all, 0 to 1."""
        return self.idle_s / self.total_s if self.total_s > 0 else 0.0


def parse_machine_time(stat: str) -> MachineTime:
    """Return the times in the first line of a `/proc/stat`."""
    # user nice system idle iowait irq softirq steal; guest time is counted in user already.
    words = stat.partition("\n")[0].split()[1:9]
    ticks = [int(word) / _TICKS_PER_S for word in words]
    return MachineTime(ticks[3] + ticks[4], ticks[6], ticks[7], sum(ticks))


@dataclass(frozen=True, slots=True)
class LinkBytes:
    """What a link has carried, with all headers."""

    received: int
    sent: int

    def __sub__(self, other: "LinkBytes") -> "LinkBytes":
        return LinkBytes(self.received - other.received, self.sent - other.sent)


def parse_link(devices: str, *, device: str) -> LinkBytes:
    """Return what a device of a `/proc/<pid>/net/dev` has carried; nothing if it is not there."""
    for line in devices.splitlines():
        name, found, numbers = line.partition(":")
        if found and name.strip() == device:
            columns = numbers.split()
            return LinkBytes(int(columns[0]), int(columns[8]))
    return LinkBytes(0, 0)


def lost_share(links: Mapping[str, LinkBytes]) -> float:
    """Return which part of all that was sent did not arrive: full queues dropped it, 0 to 1."""
    sent = sum(link.sent for link in links.values())
    received = sum(link.received for link in links.values())
    return max(0.0, 1 - received / sent) if sent else 0.0


@dataclass(frozen=True, slots=True)
class Costs:
    """Processor seconds by who used them, over one measurement.

    The kernel charges a process also with packets that it handles while that process runs, so
    `softirq_s` is not beside the others but mostly within them.
    """

    agents: Mapping[str, float]  # by node
    containerd_s: float
    ctr_s: float
    registry_s: float  # nginx and the registry behind it
    machine: MachineTime

    @property
    def agents_s(self) -> float:
        """All agents together."""
        return sum(self.agents.values())

    @property
    def rest_s(self) -> float:
        """What none of them was charged: packets handled by the kernel itself, and all else."""
        named_s = self.agents_s + self.containerd_s + self.ctr_s + self.registry_s
        return max(0.0, self.machine.busy_s - named_s)


class _Meter:
    """Adds up what changing groups of processes use."""

    def __init__(self, groups: Mapping[str, Callable[[], Sequence[int]]]) -> None:
        self._groups = groups
        self._first: dict[tuple[str, int, str], float] = {}
        self._last: dict[tuple[str, int, str], float] = {}
        self._looked = False

    def look(self) -> None:
        """Read every process of every group; one that came since the first look began at 0."""
        for group, pids in self._groups.items():
            for pid in pids():
                try:
                    stat = Path(f"/proc/{pid}/stat").read_text()
                except OSError:
                    continue  # it has just ended: what it used since the last look is lost
                # Ids are used again; with its time of start a process is named for good.
                key = (group, pid, stat.rpartition(")")[2].split()[19])
                used_s = parse_cpu_time(stat).total_s
                self._first.setdefault(key, 0.0 if self._looked else used_s)
                self._last[key] = used_s
        self._looked = True

    def used_s(self, group: str) -> float:
        """Return what a group used from the first look to the last."""
        return sum(
            used_s - self._first[key] for key, used_s in self._last.items() if key[0] == group
        )


class Watch:
    """Looks at a bed from entry to exit, in a thread of its own."""

    def __init__(self, bed: Bed) -> None:
        self._bed = bed
        self._meter = _Meter(
            {
                "containerd": lambda: _of([node.containerd.service for node in bed.nodes]),
                "registry": lambda: _of([bed.registry.nginx, *bed.registry.backends.values()]),
                **{_agent(node): lambda node=node: _agent_pids(node) for node in bed.nodes},  # type: ignore[misc]
            }
        )
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._began_s = 0.0
        self._sent_before = 0
        self._before = MachineTime.now()
        self._after = self._before
        self._links_before: dict[str, LinkBytes] = {}
        self.links: dict[str, LinkBytes] | None = None
        """By host what its link carried, headers included; None if one was not there at an end."""
        self.sent: list[tuple[float, int]] = []
        """Seconds since entry, and bytes that had left the registry by then."""

    def costs(self, *, ctr_s: float) -> Costs:
        """Return what was used; `ctr_s` is told by who started and awaited the clients."""
        return Costs(
            agents={node.name: self._meter.used_s(_agent(node)) for node in self._bed.nodes},
            containerd_s=self._meter.used_s("containerd"),
            ctr_s=ctr_s,
            registry_s=self._meter.used_s("registry"),
            machine=self._after - self._before,
        )

    def __enter__(self) -> "Watch":
        self._meter.look()
        self._links_before = self._links()
        self._sent_before = self._registry_sent()
        self._before = MachineTime.now()
        self._began_s = time.monotonic()
        self.sent.append((0.0, 0))
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._end.set()
        self._thread.join()
        self._after = MachineTime.now()
        self._meter.look()
        self._look_at_traffic()
        after = self._links()
        if after.keys() == self._links_before.keys():
            self.links = {name: link - self._links_before[name] for name, link in after.items()}

    def _run(self) -> None:
        looks = 0
        while not self._end.wait(TRAFFIC_INTERVAL_S):
            looks += 1
            self._look_at_traffic()
            if looks % _PROCESSES_EVERY == 0:
                self._meter.look()

    def _look_at_traffic(self) -> None:
        sent = self._registry_sent() - self._sent_before
        if sent > 0:
            self.sent.append((time.monotonic() - self._began_s, sent))

    def _registry_sent(self) -> int:
        """Return what ever left through the registry's link, headers of all layers included."""
        link = _link(self._bed.registry.nginx)
        return link.sent if link is not None else 0  # one that is stopped sends nothing

    def _links(self) -> dict[str, LinkBytes]:
        services = {node.name: node.containerd.service for node in self._bed.nodes}
        services[self._bed.registry.host.name] = self._bed.registry.nginx
        found = {name: _link(service) for name, service in services.items()}
        return {name: link for name, link in found.items() if link is not None}


def _link(service: Service) -> LinkBytes | None:
    """Return what the link of a running service's namespace has carried so far."""
    try:
        devices = Path(f"/proc/{service.pid}/net/dev").read_text()
    except (OSError, BedError):
        return None
    return parse_link(devices, device="eth0")


def _agent(node: Node) -> str:
    return f"agent of {node.name}"


def _of(services: Sequence[Service]) -> list[int]:
    found = []
    for service in services:
        try:
            found += process_tree(service.pid)
        except BedError:
            continue  # not running
    return found


def _agent_pids(node: Node) -> list[int]:
    return _of([node.agent.service]) if node.has_agent else []
