"""The registry is away: who has the image goes on, who has not is told soon, and all recover."""

import subprocess
import time
from pathlib import Path

import pytest

from bed.watching import SLOW, Fetch, Slow, by_rank, end_all, sent_to_clients, until
from shoal.testing.bed.bed import Bed
from shoal.testing.bed.fresh import FreshImages, Pushed
from shoal.testing.bed.node import FRONT_URL, Node

MIB = 1 << 20


def manifest_url(pushed: Pushed) -> str:
    ns = pushed.registry.address().replace(":", "%3A")
    return f"{FRONT_URL}/v2/{pushed.repository}/manifests/{pushed.tag}?ns={ns}"


def ask(node: Node, url: str, *, head: Path) -> subprocess.Popen[bytes]:
    """Ask a node's agent for something, and have the answer's head written to a file."""
    return node.popen("curl", "-s", "-o", "/dev/null", "-m", "40", "-D", str(head), url)


@pytest.mark.site(2)
def test_a_registry_that_is_down_stops_no_node_that_has_the_image_and_others_hear_of_it_soon(
    agents: Bed, fresh_image: FreshImages
) -> None:
    having, lacking = agents.nodes[:2]
    pushed = fresh_image()
    having.containerd.fetch(pushed.reference())
    having.containerd.wipe()  # the agent's store alone has it now
    agents.registry.stop()
    mark = agents.registry.mark()
    Fetch(having, pushed).seconds()
    assert sent_to_clients(having) >= 2 * pushed.image.layer_bytes
    began_s = time.monotonic()
    said = Fetch(lacking, pushed).failed()
    assert "connection refused" in said
    assert time.monotonic() - began_s < 10
    assert agents.registry.requests(since=mark) == []
    agents.registry.heal()
    Fetch(lacking, pushed).seconds()
    assert pushed.copies < 1.01


@pytest.mark.site(2)
def test_a_registry_that_hangs_is_waited_for_ten_seconds_at_most(
    agents: Bed, fresh_image: FreshImages, tmp_path: Path
) -> None:
    having, lacking = agents.nodes[:2]
    pushed = fresh_image()
    having.containerd.fetch(pushed.reference())
    agents.registry.pause()
    began_s = time.monotonic()
    heads = {node: tmp_path / node.name for node in (having, lacking)}
    asking = [ask(node, manifest_url(pushed), head=head) for node, head in heads.items()]
    for question in asking:
        assert question.wait(60) == 0
    assert time.monotonic() - began_s < 10 + 10  # and what a busy machine adds
    served, refused = heads[having].read_text(), heads[lacking].read_text()
    assert served.startswith("HTTP/1.1 200")
    assert 'Warning: 110 shoal "the registry cannot be reached' in served
    assert refused.startswith("HTTP/1.1 404")


def test_a_registry_that_goes_during_a_pull_is_not_missed_where_peers_have_the_rest(
    agents: Bed, fresh_image: FreshImages, slow: Slow
) -> None:
    pushed = fresh_image(layer_bytes=(16 * MIB,))
    _, seeder, *pulling = by_rank(agents, pushed.image.layers[0])
    seeder.containerd.fetch(pushed.reference())
    slow(seeder.name, SLOW)
    pulls = [Fetch(node, pushed) for node in pulling]
    for pull in pulls:
        pull.wait_for(1 * MIB)
    agents.registry.stop()
    slow(seeder.name, None)
    end_all(pulls)


def test_a_registry_that_comes_back_during_a_pull_costs_a_pause(
    agents: Bed, fresh_image: FreshImages, slow: Slow
) -> None:
    pushed = fresh_image(layer_bytes=(16 * MIB,))
    slow("reg", SLOW)
    pulls = [Fetch(node, pushed) for node in agents.nodes]
    for pull in pulls:
        pull.wait_for(2 * MIB)
    agents.registry.stop()
    time.sleep(1)
    agents.registry.heal()
    slow("reg", None)
    end_all(pulls)
    assert pushed.copies < 2  # of four without peers


@pytest.mark.site(2)
def test_a_registry_that_stays_away_ends_the_pull_clearly_and_the_next_one_resumes(
    agents: Bed, fresh_image: FreshImages, slow: Slow
) -> None:
    node = agents.nodes[1]
    pushed = fresh_image(layer_bytes=(16 * MIB,))
    slow("reg", SLOW)
    pull = Fetch(node, pushed)
    pull.wait_for(8 * MIB)
    agents.registry.stop()
    slow("reg", None)
    began_s = time.monotonic()
    assert pull.failed()
    assert time.monotonic() - began_s < 30
    log = node.agent.service.log
    assert until(lambda: "the registry does not give it and no peer has it" in log.read_text())
    agents.registry.heal()
    Fetch(node, pushed).seconds()
    assert pushed.copies < 1.4  # the half that had come was not fetched again
