"""Sites over IPv6 alone, and sites that a name server tells of."""

import json
import sys
from collections.abc import Iterator

import pytest

from bed.watching import Fetch, end_all, spec_of, until
from shoal.core.endpoint import Endpoint
from shoal.core.membership.placement import ranked
from shoal.core.peer import PeerId
from shoal.testing.bed.agents import PEER_PORT
from shoal.testing.bed.bed import Bed
from shoal.testing.bed.fresh import FreshImages
from shoal.testing.bed.node import Node
from shoal.testing.bed.processes import Service, in_namespace
from shoal.testing.image_layout import BuiltImage

pytestmark = pytest.mark.usefixtures("over_tls")

SERVICE = "agents.shoal.bed"
LAYERS = (1024, 300_000, 6 << 20)


def member_count(node: Node) -> int:
    """Return how many members a node's agent knows of, itself among them."""
    return int(node.agent.metrics().get("shoal_members", 0))


def test_a_site_that_has_ipv6_alone_costs_the_registry_one_copy(
    bed: Bed, fresh_image: FreshImages
) -> None:
    nodes = bed.nodes[:2]
    registry = {
        "name": bed.registry.address(),
        "url": f"http://[{bed.registry.host.ipv6}]:5000",
        "plain_http": True,
    }
    for node in nodes:
        node.run("ip", "-4", "addr", "flush", "dev", "eth0")
    try:
        for node in nodes:
            changes = {
                "peer": {"address": node.host.ipv6, "hosts": ["::"]},
                "membership": {"static": [f"[{n.host.ipv6}]:{PEER_PORT}" for n in nodes]},
                "registries": [registry],
            }
            node.start_agent(bed.agent_settings(node, changes), wait=False)
        for node in nodes:
            node.agent.wait_ready()
            node.use_agent()
        pushed = fresh_image(layer_bytes=LAYERS)
        mark = bed.registry.mark()
        end_all([Fetch(node, pushed) for node in nodes])
        assert pushed.copies < 1.2
        received = [node.agent.metrics()["shoal_peer_received_bytes_total"] for node in nodes]
        assert sum(received) > 0.8 * pushed.image.layer_bytes
        asked = {request.client for request in bed.registry.requests(since=mark)}
        assert asked == {node.host.ipv6 for node in nodes}
    finally:
        for node in nodes:
            node.run("ip", "addr", "add", f"{node.host.ipv4}/16", "dev", "eth0")


class Names:
    """The bed's name server, and the records that it has."""

    def __init__(self, bed: Bed) -> None:
        self._records = bed.folder / "names.json"
        self.resolv_conf = bed.folder / "resolv.conf"
        host = bed.registry.host
        self.resolv_conf.write_text(f"nameserver {host.ipv4}\noptions timeout:1 attempts:2\n")
        command = ["-m", "shoal.testing.bed.names", host.ipv4, str(self._records)]
        self._service = Service(
            "the name server",
            in_namespace(host.namespace, [sys.executable, *command]),
            log=bed.folder / "names.log",
        )

    def start(self) -> None:
        """Serve; return once it answers."""
        self._service.log.unlink(missing_ok=True)
        self._service.start()
        self._service.wait_until(lambda: "ready" in self._service.tail(), timeout_s=20)

    def tell(self, addresses: list[str]) -> None:
        """Have these addresses for the agents' name from now on."""
        replacement = self._records.with_suffix(".new")
        replacement.write_text(json.dumps({SERVICE: addresses}))
        replacement.rename(self._records)

    def stop(self) -> None:
        """Serve no more."""
        self._service.kill()


@pytest.fixture
def names(bed: Bed) -> Iterator[Names]:
    """The bed's name server, running, with no records yet."""
    server = Names(bed)
    server.tell([])
    server.start()
    yield server
    server.stop()


@pytest.mark.parametrize("family", ["ipv4", "ipv6"])
def test_a_site_follows_the_name_of_its_agents(
    bed: Bed, fresh_image: FreshImages, names: Names, family: str
) -> None:
    address = {node.name: str(getattr(node.host, family)) for node in bed.nodes}
    *first, late = bed.nodes
    for node in bed.nodes:
        changes = {
            "peer": {"address": address[node.name]},
            "membership": {"static": [], "dns": SERVICE, "dns_refresh_s": 1},
        }
        settings = bed.agent_settings(node, changes)
        node.start_agent(settings, wait=False, resolv_conf=names.resolv_conf)
        node.use_agent()
    names.tell([address[node.name] for node in first])
    for node in bed.nodes:
        node.agent.wait_ready()
    assert until(lambda: [member_count(node) for node in first] == [3, 3, 3])
    # A node that joins tracks its share of the blobs at once, and hears who has them only in the
    # seconds after that: of those it would fetch another copy. This one is another's to track.
    peers = {node.name: PeerId(str(Endpoint(address[node.name], PEER_PORT))) for node in bed.nodes}

    def is_another_s(image: BuiltImage) -> bool:
        tags = [spec_of(bed.registry, layer).tag for layer in image.layers]
        return all(ranked(tag, peers.values())[0] != peers[late.name] for tag in tags)

    pushed = fresh_image(layer_bytes=(6 << 20,), fits=is_another_s)
    end_all([Fetch(node, pushed) for node in first])
    assert pushed.copies < 1.2

    names.tell([address[node.name] for node in bed.nodes])
    assert until(lambda: [member_count(node) for node in bed.nodes] == [4, 4, 4, 4])
    assert until(lambda: late.agent.metrics()["shoal_peers_connected"] == 3)
    before = pushed.copies
    end_all([Fetch(late, pushed)])
    assert pushed.copies < before + 0.1  # nearly all of it came from the others

    left = bed.nodes[2:]
    names.tell([address[node.name] for node in left])
    assert until(lambda: [member_count(node) for node in left] == [2, 2])
    names.stop()  # who was known last stays
    next_one = fresh_image(layer_bytes=LAYERS)
    end_all([Fetch(node, next_one) for node in left])
    assert next_one.copies < 1.2
    log = late.agent.service.log
    assert until(lambda: '"event": "dns_failed"' in log.read_text())
    assert member_count(late) == 2


def test_a_node_that_joins_and_pulls_at_once_costs_no_further_copy(
    bed: Bed, fresh_image: FreshImages, names: Names
) -> None:
    *first, late = bed.nodes
    for node in bed.nodes:
        changes = {"membership": {"static": [], "dns": SERVICE, "dns_refresh_s": 1}}
        settings = bed.agent_settings(node, changes)
        node.start_agent(settings, wait=False, resolv_conf=names.resolv_conf)
        node.use_agent()
    names.tell([node.host.ipv4 for node in first])
    for node in bed.nodes:
        node.agent.wait_ready()
    assert until(lambda: [member_count(node) for node in first] == [3, 3, 3])
    pushed = fresh_image(layer_bytes=(6 << 20,))
    end_all([Fetch(node, pushed) for node in first])
    before = pushed.copies
    names.tell([node.host.ipv4 for node in bed.nodes])
    assert until(lambda: [member_count(node) for node in bed.nodes] == [4, 4, 4, 4])
    end_all([Fetch(late, pushed)])
    assert pushed.copies < before + 0.2
