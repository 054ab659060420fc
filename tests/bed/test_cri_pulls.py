"""containerd's CRI pulls through Shoal: whose credentials reach it, and what goes around it."""

import json

import pytest

from bed.watching import blob_url, layer_bytes_by, sent_to_clients
from shoal.testing.bed.bed import Bed
from shoal.testing.bed.cri import Auth, PullFailed
from shoal.testing.bed.fresh import FreshImages
from shoal.testing.bed.node import Node
from shoal.testing.bed.registry import OTHER_PASSWORD, OTHER_USER, PASSWORD, USER
from shoal.testing.bed.traffic import Door

LOGIN = Auth(username=USER, password=PASSWORD)


@pytest.fixture
def node(bed: Bed) -> Node:
    """A node with the only agent there is."""
    node = bed.nodes[0]
    bed.start_agents({"membership": {"static": []}}, nodes=[node])
    return node


def named(bed: Bed, door: Door) -> Auth:
    """Return the right login, said to be for the registry by its URL."""
    return Auth(username=USER, password=PASSWORD, server_address=bed.registry.url(door))


@pytest.mark.parametrize(
    ("door", "auth"),
    [
        (Door.OPEN, None),
        (Door.OPEN, LOGIN),
        (Door.BASIC, LOGIN),
        (Door.TOKEN, LOGIN),
        (Door.REDIRECTING, None),
    ],
)
def test_with_a_login_for_whatever_registry_all_comes_through_shoal(
    bed: Bed, node: Node, fresh_image: FreshImages, door: Door, auth: Auth | None
) -> None:
    pushed = fresh_image()
    mark = bed.registry.mark()
    node.cri.pull(pushed.reference(door), auth=auth)
    assert layer_bytes_by(bed.registry, pushed, since=mark) == {"shoal": pushed.image.layer_bytes}
    assert sent_to_clients(node) >= pushed.image.layer_bytes


@pytest.mark.parametrize("door", [Door.BASIC, Door.TOKEN])
def test_a_login_for_a_named_registry_is_kept_from_mirrors_and_goes_around_shoal(
    bed: Bed, node: Node, fresh_image: FreshImages, door: Door
) -> None:
    pushed = fresh_image()
    mark = bed.registry.mark()
    node.cri.pull(pushed.reference(door), auth=named(bed, door))
    assert layer_bytes_by(bed.registry, pushed, since=mark) == {
        "containerd": pushed.image.layer_bytes
    }
    assert sent_to_clients(node) == 0


def test_a_login_for_a_named_registry_that_needs_none_comes_through_shoal(
    bed: Bed, node: Node, fresh_image: FreshImages
) -> None:
    pushed = fresh_image()
    node.cri.pull(pushed.reference(), auth=named(bed, Door.OPEN))
    assert layer_bytes_by(bed.registry, pushed) == {"shoal": pushed.image.layer_bytes}


def test_what_a_registry_gives_to_anyone_comes_through_shoal_without_a_login(
    bed: Bed, node: Node, fresh_image: FreshImages
) -> None:
    pushed = fresh_image(repository="public/fresh")
    node.cri.pull(pushed.reference(Door.TOKEN))
    assert layer_bytes_by(bed.registry, pushed) == {"shoal": pushed.image.layer_bytes}


@pytest.mark.parametrize("door", [Door.BASIC, Door.TOKEN])
def test_a_private_image_is_not_pulled_with_a_wrong_login_or_none(
    bed: Bed, node: Node, fresh_image: FreshImages, door: Door
) -> None:
    pushed = fresh_image()
    wrong = Auth(username=USER, password="guessed")
    unknown = Auth(username="nobody", password=PASSWORD, server_address=bed.registry.url(door))
    for auth in (None, wrong, unknown):
        with pytest.raises(PullFailed, match=r"401|403|denied|authoriz|unauthorized"):
            node.cri.pull(pushed.reference(door), auth=auth, timeout_s=60)
    assert pushed.copies == 0
    assert sent_to_clients(node) == 0


@pytest.mark.site(2)
@pytest.mark.parametrize("door", [Door.BASIC, Door.TOKEN])
def test_what_a_node_or_its_peer_has_is_given_to_no_login_that_the_registry_refuses(
    agents: Bed, fresh_image: FreshImages, door: Door
) -> None:
    first, second = agents.nodes[:2]
    pushed = fresh_image()
    first.cri.pull(pushed.reference(door), auth=LOGIN)
    stranger = Auth(username=OTHER_USER, password=OTHER_PASSWORD)
    refused = [None, Auth(username=USER, password="guessed")]
    if door is Door.TOKEN:  # a valid login of the same registry, which may pull other things
        refused.append(stranger)
    before = pushed.copies
    for node in (first, second):
        for auth in refused:
            with pytest.raises(PullFailed, match=r"401|403|denied|authoriz|unauthorized"):
                node.cri.pull(pushed.reference(door), auth=auth, timeout_s=60)
        for layer in pushed.image.layers:
            asked = node.run(
                "curl", "-so", "/dev/null", "-w", "%{http_code} %{size_download}",
                "-u", f"{USER}:guessed", blob_url(pushed, layer.digest, door=door),
            )  # fmt: skip
            assert asked.stdout.startswith("401 ")
    assert pushed.copies == before
    received = second.agent.metrics().get("shoal_peer_received_bytes_total", 0)
    assert received == 0
    second.cri.pull(pushed.reference(door), auth=LOGIN)
    assert pushed.copies == before
    assert second.agent.metrics()["shoal_peer_received_bytes_total"] >= pushed.image.layer_bytes


def test_no_login_is_written_into_a_log(bed: Bed, node: Node, fresh_image: FreshImages) -> None:
    pushed = fresh_image()
    node.cri.pull(pushed.reference(Door.BASIC), auth=LOGIN)
    node.cri.pull(pushed.reference(Door.TOKEN), auth=LOGIN)
    asked = [json.loads(line) for line in bed.registry.token_log.read_text().splitlines()]
    assert any(line["user"] == USER and line["status"] == 200 for line in asked)
    log = node.agent.service.log.read_text()
    assert PASSWORD not in log
    assert "cHVsbGVyO" not in log  # "puller:" in base64
