"""Agents that are killed, stopped or hung while images are pulled: the pull is never lost."""

import time
from pathlib import Path

import pytest

from bed.watching import (
    SLOW,
    CriPull,
    Fetch,
    Slow,
    blob_url,
    by_rank,
    end_all,
    layer_bytes_by,
    sent_to_clients,
    sources,
    until,
)
from shoal.testing.bed.bed import Bed
from shoal.testing.bed.fresh import FreshImages

pytestmark = pytest.mark.usefixtures("over_tls")

MIB = 1 << 20
# Once the middle of a pull is over, the rest need not take long.
QUICKER = "100mbit"


@pytest.mark.site(3)
@pytest.mark.parametrize("fault", ["killed", "unplugged", "hung"])
def test_a_peer_that_goes_during_a_pull_is_replaced_by_the_registry(
    agents: Bed, fresh_image: FreshImages, slow: Slow, fault: str
) -> None:
    pushed = fresh_image(layer_bytes=(12 * MIB,))
    _, seeder, puller = by_rank(agents, pushed.image.layers[0])
    seeder.containerd.fetch(pushed.reference())
    slow(seeder.name, SLOW)
    pull = Fetch(puller, pushed)
    pull.wait_for(2 * MIB)
    if fault == "killed":
        seeder.agent.kill()
    elif fault == "unplugged":
        agents.network.cut(seeder.name)
    else:
        seeder.agent.pause()
    began_s = time.monotonic()
    pull.seconds(timeout_s=90)
    assert time.monotonic() - began_s < 30
    assert sources(puller, pushed.image.layers[0].digest)["peer_bytes"] >= 1 * MIB
    assert pushed.copies < 2.01


@pytest.mark.parametrize("fault", ["killed", "unplugged", "hung"])
def test_a_tracker_that_goes_during_a_pull_is_replaced_by_the_next(
    agents: Bed, fresh_image: FreshImages, slow: Slow, fault: str
) -> None:
    pushed = fresh_image(layer_bytes=(16 * MIB,))
    tracker, *pulling = by_rank(agents, pushed.image.layers[0])
    slow("reg", SLOW)
    pulls = [Fetch(node, pushed) for node in pulling]
    for pull in pulls:
        pull.wait_for(2 * MIB)
    if fault == "killed":
        tracker.agent.kill()
    elif fault == "unplugged":
        agents.network.cut(tracker.name)
    else:
        tracker.agent.pause()
    slow("reg", QUICKER)
    began_s = time.monotonic()
    end_all(pulls)
    assert time.monotonic() - began_s < 30
    assert pushed.copies < 2  # of three without peers


@pytest.mark.site(2)
@pytest.mark.parametrize("how", [Fetch, CriPull])
def test_an_agent_that_is_killed_during_a_pull_goes_on_with_what_it_had(
    agents: Bed, fresh_image: FreshImages, slow: Slow, how: type[Fetch | CriPull]
) -> None:
    pushed = fresh_image(layer_bytes=(16 * MIB,))
    (layer,) = pushed.image.layers
    tracker, puller = by_rank(agents, layer)
    assert tracker is not puller
    slow("reg", SLOW)
    pull = how(puller, pushed)
    pull.wait_for(4 * MIB)
    pull.hold()  # so that it finds the agent there again, and comes back to it with a Range
    killed = puller.agent.pids()[1]
    puller.agent.kill_worker()
    assert until(lambda: killed not in puller.agent.pids())
    assert until(puller.agent.is_ready)
    slow("reg", QUICKER)
    pull.go_on()
    pull.seconds()
    assert set(layer_bytes_by(agents.registry, pushed)) == {"shoal"}
    assert sources(puller, layer.digest)["cached_bytes"] >= 2 * MIB
    assert pushed.copies < 1.5


@pytest.mark.site(2)
def test_an_agent_that_is_killed_during_a_pull_does_not_keep_containerd_waiting(
    agents: Bed, fresh_image: FreshImages, slow: Slow, tmp_path: Path
) -> None:
    pushed = fresh_image(layer_bytes=(16 * MIB,))
    (layer,) = pushed.image.layers
    puller = by_rank(agents, layer)[1]
    slow("reg", SLOW)
    pull = CriPull(puller, pushed)
    pull.wait_for(4 * MIB)
    puller.agent.kill_worker()
    slow("reg", QUICKER)
    pull.seconds(timeout_s=30)
    assert pushed.copies < 2
    # What the agent had when it was killed is of use to the next who asks.
    assert until(puller.agent.is_ready)
    out = tmp_path / "layer"
    puller.run("curl", "-sSfo", str(out), blob_url(pushed, layer.digest))
    assert out.read_bytes() == pushed.image.blob(layer.digest).read_bytes()
    assert sources(puller, layer.digest)["cached_bytes"] >= 2 * MIB
    assert pushed.copies < 2


@pytest.mark.site(2)
def test_an_agent_that_is_told_to_stop_ends_its_transfers_first(
    agents: Bed, fresh_image: FreshImages, slow: Slow
) -> None:
    pushed = fresh_image(layer_bytes=(8 * MIB,))
    puller = by_rank(agents, pushed.image.layers[0])[1]
    slow("reg", SLOW)
    pull = Fetch(puller, pushed)
    pull.wait_for(1 * MIB)
    assert puller.agent.stop() == 0
    pull.seconds()
    # Had the agent ended before the pull, ctr would have had the rest from the registry.
    assert layer_bytes_by(agents.registry, pushed) == {"shoal": pushed.image.layer_bytes}
    next_one = fresh_image()
    Fetch(puller, next_one).seconds()
    assert layer_bytes_by(agents.registry, next_one) == {"containerd": next_one.image.layer_bytes}


@pytest.mark.site(1)
def test_containerd_asks_the_registry_at_once_where_the_agent_is_gone(
    agents: Bed, fresh_image: FreshImages
) -> None:
    node = agents.nodes[0]
    node.agent.kill()
    pushed = fresh_image()
    assert Fetch(node, pushed).seconds() < 10
    assert layer_bytes_by(agents.registry, pushed) == {"containerd": pushed.image.layer_bytes}


@pytest.mark.site(2)
@pytest.mark.parametrize("when", ["before a pull", "during a pull"])
def test_an_agent_that_hangs_is_ended_before_containerd_has_waited_long(
    agents: Bed, fresh_image: FreshImages, slow: Slow, when: str
) -> None:
    pushed = fresh_image(layer_bytes=(16 * MIB,))
    node = by_rank(agents, pushed.image.layers[0])[1]
    slow("reg", SLOW)
    if when == "before a pull":
        node.agent.pause()
    pull = CriPull(node, pushed)
    if when == "during a pull":
        pull.wait_for(4 * MIB)
        node.agent.pause()
    slow("reg", QUICKER)
    # 3 s until the supervisor ends it, 1.4 s of transfer, and more on a busy machine; containerd
    # itself would wait for more than a minute.
    assert pull.seconds(timeout_s=90) < 30
    assert until(node.agent.is_ready)
    assert sent_to_clients(node) >= 0
    assert pushed.copies < 2
