"""The bed's wires: namespaces, bridges, and links shaped with a token bucket on both ends.

Everything is inside namespaces of the bed: the bridges too, in one of their own, so that the
machine's interfaces, routes and firewall are never touched and two beds can use one address twice.

    node n1 ──eth0═══n1── br0 ──reg═══eth0── reg          (═══ a veth pair, shaped on both ends)
    node n2 ──eth0═══n2── br1 ──up1═══core1── br0         (a site: a bridge behind its own uplink)
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from shoal.testing.bed.processes import BedError, in_namespace, run
from shoal.testing.bed.record import Record

_RATE = re.compile(r"(?P<number>\d+(?:\.\d+)?)\s*(?P<unit>[kmg]?)bit(?:/s|ps)?", re.IGNORECASE)
_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9}

# A bucket below one segmentation-offload packet (64 KiB) makes the kernel cut each packet by hand,
# and one below a scheduler tick or so of the rate cannot keep up. Measured here over one TCP
# stream, payload over rate: 95.9 % at 50 and 100 Mbit/s, 95.7 % at 1 Gbit/s; 1448 bytes of payload
# in a frame of 1514 cannot give more than 95.6 % in the long run (the bucket starts full).
_MIN_BURST_BYTES = 64 * 1024
_BURST_S = 0.004
_QUEUE = "20ms"  # the switch's buffer: what a shaped link may hold back before it drops

# What Linux ships with and nodes have, whatever this machine's default is: bbr, for one, does not
# slow down for what short queues drop, and loses a tenth of what it sends over such links.
_CONGESTION = "cubic"

REGISTRY = "reg"


def parse_rate(text: str) -> int:
    """Return the bits per second that `100mbit`, `1gbit` or `50Mbit/s` means.

    Raises:
        BedError: it is none of these.
    """
    match = _RATE.fullmatch(text.strip())
    if match is None or (rate := int(float(match["number"]) * _UNITS[match["unit"].lower()])) < 1:
        raise BedError(f"not a rate: {text!r}; write it like 100mbit or 1gbit")
    return rate


@dataclass(frozen=True, slots=True)
class Site:
    """A group of nodes behind one uplink; rates in tc's spelling, None for unshaped.

    With one site that has no uplink, its nodes are on the core bridge themselves.
    """

    nodes: int
    rate: str | None = None
    uplink: str | None = None


@dataclass(frozen=True, slots=True)
class Host:
    """A namespace with one link: a node or the registry."""

    name: str  # n1, n2, ... or reg
    namespace: str
    ipv4: str
    ipv6: str


class Network:
    """The namespaces and links of one bed."""

    def __init__(self, record: Record) -> None:
        self._record = record
        self._core = record.namespace("net")

    def build(self, sites: Sequence[Site], *, registry_rate: str | None) -> tuple[list[Host], Host]:
        """Make everything; return the nodes, in order, and the registry."""
        registry = self._host(REGISTRY, site=255, number=1)
        hosts: list[tuple[Host, int, str | None]] = [(registry, 0, registry_rate)]
        core = ["link add br0 type bridge forward_delay 0", "link set br0 up", "link set lo up"]
        shaped = [(name, rate) for name, rate in [(REGISTRY, registry_rate)] if rate]
        for index, site in enumerate(sites, start=1):
            bridge = index if site.uplink is not None or len(sites) > 1 else 0
            if bridge:
                core += [
                    f"link add br{index} type bridge forward_delay 0",
                    f"link add up{index} type veth peer name core{index}",
                    f"link set up{index} master br{index} up",
                    f"link set core{index} master br0 up",
                    f"link set br{index} up",
                ]
                if site.uplink:
                    shaped += [(f"up{index}", site.uplink), (f"core{index}", site.uplink)]
            for number in range(1, site.nodes + 1):
                name = f"n{len(hosts)}"
                hosts.append((self._host(name, site=index, number=number), bridge, site.rate))
                if site.rate:
                    shaped.append((name, site.rate))
        for namespace in [self._core, *(host.namespace for host, _, _ in hosts)]:
            run(["ip", "netns", "add", namespace])
            _quieten(namespace)
        self._ip(self._core, core)
        for host, bridge, rate in hosts:
            self._connect(host, bridge=bridge, rate=rate)
        self._shape(self._core, shaped)
        return [host for host, _, _ in hosts[1:]], registry

    def set_rate(self, name: str, rate: str | None) -> None:
        """Shape the link of node or registry `name` anew on both ends; None takes shaping off."""
        for namespace, device in ((self._core, name), (self._record.namespace(name), "eth0")):
            if rate is None:
                run(["tc", "-n", namespace, "qdisc", "del", "dev", device, "root"], check=False)
            else:
                self._shape(namespace, [(device, rate)])

    def set_uplink_rate(self, site: int, rate: str) -> None:
        """Shape the uplink of site number `site` (from 1) anew, in both directions."""
        self._shape(self._core, [(f"up{site}", rate), (f"core{site}", rate)])

    def cut(self, name: str) -> None:
        """Pull the plug of node, registry or uplink (`up1`) `name`: packets vanish unanswered."""
        run(["ip", "-n", self._core, "link", "set", name, "down"])

    def mend(self, name: str) -> None:
        """Put the plug of `name` back."""
        run(["ip", "-n", self._core, "link", "set", name, "up"])

    def _host(self, name: str, *, site: int, number: int) -> Host:
        return Host(
            name=name,
            namespace=self._record.namespace(name),
            ipv4=f"10.77.{site}.{number}",
            ipv6=f"fd00:77::{site:x}:{number:x}",
        )

    def _connect(self, host: Host, *, bridge: int, rate: str | None) -> None:
        self._ip(
            self._core,
            [
                f"link add {host.name} type veth peer name eth0 netns {host.namespace}",
                f"link set {host.name} master br{bridge} up",
            ],
        )
        self._ip(
            host.namespace,
            [
                "link set lo up",
                f"addr add {host.ipv4}/16 dev eth0",
                # No duplicate address detection: it would hold the address back for a second.
                f"addr add {host.ipv6}/64 dev eth0 nodad",
                "link set eth0 up",
                # On the routes: a namespace may choose a default only among what the machine
                # allows to everybody, and that is not ours to change.
                "route replace 10.77.0.0/16 dev eth0 proto kernel scope link"
                f" src {host.ipv4} congctl {_CONGESTION}",
                "route replace fd00:77::/64 dev eth0 proto kernel metric 256"
                f" congctl {_CONGESTION}",
            ],
        )
        if rate:
            self._shape(host.namespace, [("eth0", rate)])

    def _ip(self, namespace: str, lines: Sequence[str]) -> None:
        run(["ip", "-n", namespace, "-batch", "-"], input_text="\n".join(lines) + "\n")

    def _shape(self, namespace: str, links: Sequence[tuple[str, str]]) -> None:
        lines = [
            f"qdisc replace dev {device} root tbf rate {parse_rate(rate)}bit"
            f" burst {_burst_bytes(rate)} latency {_QUEUE}"
            for device, rate in links
        ]
        if lines:
            run(["tc", "-n", namespace, "-batch", "-"], input_text="\n".join(lines) + "\n")


def _burst_bytes(rate: str) -> int:
    return max(_MIN_BURST_BYTES, int(parse_rate(rate) / 8 * _BURST_S))


def _quieten(namespace: str) -> None:
    """Set what every namespace must have the same, whatever the machine's own defaults are."""
    settings = {
        # A bridge is a switch here; the machine's firewall hooks would only cost CPU.
        "net/bridge/bridge-nf-call-iptables": "0",
        "net/bridge/bridge-nf-call-ip6tables": "0",
        "net/bridge/bridge-nf-call-arptables": "0",
        "net/ipv6/conf/default/accept_dad": "0",
        "net/ipv6/conf/default/accept_ra": "0",
        "net/ipv4/ping_group_range": "0 0",
    }
    lines = "\n".join(
        f"[ ! -w /proc/sys/{key} ] || echo '{value}' > /proc/sys/{key}"
        for key, value in settings.items()
    )
    run(in_namespace(namespace, ["/bin/sh", "-c", lines]))


def is_root() -> bool:
    """Whether namespaces can be made at all by this process."""
    status = Path("/proc/self/status").read_text()
    match = re.search(r"^CapEff:\s*([0-9a-f]+)", status, re.MULTILINE)
    return match is not None and bool(int(match[1], 16) & (1 << 21))  # CAP_SYS_ADMIN
