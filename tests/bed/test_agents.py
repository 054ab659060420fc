"""Agents on the bed can be ended, hung and started again, and be given too little disk."""

import pytest

from bed.watching import Fetch, blob_url, layer_bytes_by, until
from shoal.testing.bed.bed import Bed
from shoal.testing.bed.fresh import FreshImages

pytestmark = pytest.mark.usefixtures("over_tls")


def test_an_agent_that_is_killed_or_hangs_is_replaced_by_its_supervisor(bed: Bed) -> None:
    node = bed.nodes[0]
    bed.start_agents(nodes=[node])
    agent = node.agent
    for fault in (agent.kill_worker, agent.pause):
        supervisor, worker = agent.pids()[:2]
        fault()
        assert until(lambda worker=worker: worker not in agent.pids())  # type: ignore[misc]
        assert until(agent.is_ready)
        assert agent.pids()[0] == supervisor


@pytest.mark.site(2)
def test_an_agent_that_was_killed_starts_again_with_what_it_had(
    agents: Bed, fresh_image: FreshImages
) -> None:
    node, other = agents.nodes[:2]
    pushed = fresh_image()
    node.containerd.fetch(pushed.reference())
    node.agent.kill()
    assert not node.agent.service.running
    agents.registry.settle()
    mark = agents.registry.mark()
    node.agent.start()
    for layer in pushed.image.layers:
        node.run("curl", "-sSfo", "/dev/null", blob_url(pushed, layer.digest))
    assert layer_bytes_by(agents.registry, pushed, since=mark) == {}
    other.containerd.fetch(pushed.reference())
    assert node.agent.stop() == 0


def test_a_pull_through_an_agent_whose_disk_is_too_small_succeeds(
    bed: Bed, fresh_image: FreshImages
) -> None:
    node = bed.nodes[2]
    node.use_small_disk(1 << 20)
    bed.start_agents({"store": {"reserve_bytes": 0}}, nodes=[node])
    pushed = fresh_image(layer_bytes=(1024, 8 << 20))
    Fetch(node, pushed).seconds()
    assert layer_bytes_by(bed.registry, pushed) == {"shoal": pushed.image.layer_bytes}
    assert node.agent.metrics()["shoal_store_used_bytes"] <= 1 << 20
    assert "passed through unkept" in node.agent.service.log.read_text()
