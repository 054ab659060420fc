"""`shoal containerd install` on a real containerd: it is read, it is undone."""

import json
import sys
from pathlib import Path

import pytest

from shoal.testing.bed.bed import Bed
from shoal.testing.bed.fresh import FreshImages
from shoal.testing.bed.node import Node

pytestmark = pytest.mark.site(1)

ADMINS = """\
# What the administrator wrote, with a mirror that is not there.
server = "{url}"

[host."http://127.0.0.1:9"]
  capabilities = ["pull"]
"""


def shoal(node: Node, command: str, *words: str) -> dict[str, object]:
    """Run `shoal containerd COMMAND` on the node and return its JSON; any exit code but 0 fails."""
    place = ["--certs-d", str(node.certs_d), "--config", str(node.containerd.config), "--json"]
    done = node.run(sys.executable, "-m", "shoal", "containerd", command, *words, *place)
    said: dict[str, object] = json.loads(done.stdout)
    return said


def files(folder: Path) -> dict[str, tuple[bytes, int, int]]:
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    return {
        str(path): (path.read_bytes(), path.stat().st_mode, path.stat().st_mtime_ns)
        for path in paths
    }


def holds(node: Node, hexadecimal: str) -> bool:
    """Tell whether the node's agent has stored a blob: then it has served it."""
    return any(hexadecimal in path.name for path in node.agent.store.rglob("*"))


@pytest.mark.parametrize("has_file", [False, True], ids=["new", "prepended"])
def test_containerd_asks_the_agent_first_and_the_registry_where_it_is_gone(
    agents: Bed, fresh_image: FreshImages, has_file: bool
) -> None:
    node = agents.nodes[0]
    registry = agents.registry
    path = node.certs_d / registry.address() / "hosts.toml"
    path.unlink()
    if has_file:
        path.write_text(ADMINS.format(url=registry.url()))
    before = files(node.certs_d)

    shoal(node, "install", "--registry", registry.address(), "--plain-http", "--wait-s", "5")
    after = files(node.certs_d)
    shoal(node, "install", "--registry", registry.address(), "--plain-http")
    assert files(node.certs_d) == after
    assert shoal(node, "check", "--registry", registry.address())["ok"]

    through = fresh_image()
    node.cri.pull(through.reference())
    assert all(holds(node, layer.digest[7:]) for layer in through.image.layers)

    node.agent.kill()
    without = fresh_image()
    node.cri.pull(without.reference())
    assert without.copies == pytest.approx(1, abs=0.01)

    shoal(node, "remove", "--registry", registry.address())
    assert files(node.certs_d) == before
    assert list(path.parent.iterdir()) == ([path] if has_file else [])


def test_a_header_reaches_the_agent_and_no_registry(agents: Bed, fresh_image: FreshImages) -> None:
    node = agents.nodes[0]
    registry = agents.registry
    words = ["--registry", registry.address(), "--plain-http", "--header", "X-Shoal-Node: secret"]
    (node.certs_d / registry.address() / "hosts.toml").unlink()
    shoal(node, "install", *words)
    pushed = fresh_image()
    node.cri.pull(pushed.reference())
    assert holds(node, pushed.image.layers[0].digest[7:])
    shoal(node, "remove")
