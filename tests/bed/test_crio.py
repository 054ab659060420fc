"""CRI-O's mirrors as containers/image reads them, by skopeo, which has its code."""

import subprocess
from pathlib import Path

from bed.watching import layer_bytes_by
from shoal.setup.node.crio import CrioNode
from shoal.setup.node.told import read_agent
from shoal.testing.bed.agents import PEER_PORT
from shoal.testing.bed.bed import Bed
from shoal.testing.bed.fresh import FreshImages, Pushed
from shoal.testing.bed.node import Node

# A mirror's path names the registry by a name without a port.
ALIAS = "registry.bed"


def _copy(
    node: Node, containers: Path, pushed: Pushed, to: Path
) -> subprocess.CompletedProcess[str]:
    """Copy an image by its own name, where this node's /etc/containers is `containers`."""
    script = 'mount --bind "$0" /etc/containers && exec "$@"'
    return node.run(
        "unshare", "--mount", "--", "/bin/sh", "-c", script, str(containers),
        "skopeo", "--insecure-policy", "copy", "-q",
        f"docker://{pushed.reference()}", f"oci:{to}:copy",
        check=False,
    )  # fmt: skip


def test_mirrors_send_it_to_the_agent_and_to_the_registry_where_the_agent_is_gone(
    bed: Bed, fresh_image: FreshImages, tmp_path: Path
) -> None:
    node = bed.nodes[3]
    registry = {"name": bed.registry.address(), "plain_http": True, "aliases": [ALIAS]}
    settings = {
        "registries": [registry],
        "membership": {"static": [f"{node.host.ipv4}:{PEER_PORT}"]},
    }
    node.start_agent(bed.agent_settings(node, settings))
    containers = tmp_path / "containers"
    containers.mkdir()
    told = read_agent(node.agent.config)
    runtime = CrioNode(containers)
    found = runtime.apply(told.names, front_url=told.front_url, release=None)
    assert [it for it in found if not it.ok] == []

    through = fresh_image()
    copied = _copy(node, containers, through, tmp_path / "through")
    assert copied.returncode == 0, copied.stderr
    assert layer_bytes_by(bed.registry, through) == {"shoal": through.image.layer_bytes}

    node.agent.kill()
    without = fresh_image()
    copied = _copy(node, containers, without, tmp_path / "without")
    assert copied.returncode == 0, copied.stderr
    assert "shoal" not in layer_bytes_by(bed.registry, without)
    runtime.remove()
    assert [*containers.iterdir()] == []
