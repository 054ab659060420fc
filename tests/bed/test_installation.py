"""The chart's node commands on real containerd: installed, pulled through, gone without a trace."""

from functools import partial

from bed.watching import until
from shoal.testing.bed.agents import FRONT_PORT
from shoal.testing.bed.bed import Bed
from shoal.testing.bed.fresh import FreshImages
from shoal.testing.bed.installation import Installation, differing, manifest
from shoal.testing.bed.node import Node
from shoal.testing.image_layout import BuiltImage

OTHER_PORT = 65011


def _came_through_the_agent(node: Node, image: BuiltImage) -> bool:
    stored = {path.name for path in (node.folder / "var").rglob("*")}
    return all(any(layer.digest[7:] in name for name in stored) for layer in image.layers)


def test_an_uninstall_leaves_no_trace_also_on_a_node_that_was_off(
    bed: Bed, fresh_image: FreshImages
) -> None:
    on, off = bed.nodes[:2]
    with Installation(bed, [on, off]) as installation:
        before = {node.name: manifest(node) for node in (on, off)}
        installation.install()
        first = fresh_image()
        for node in (on, off):
            node.cri.pull(first.reference())
            assert until(partial(_came_through_the_agent, node, first.image))
            assert differing(before[node.name], manifest(node))
        installation.turn_off(off)

        said = installation.uninstall(wait_s=1)
        assert f"{off.name}: it is down" in said
        assert until(lambda: differing(before[on.name], manifest(on)) == [])
        on.cri.pull(fresh_image().reference())

        off.containerd.start()
        # Before anything of the cluster's has come to it.
        off.cri.pull(fresh_image().reference())
        assert differing(before[off.name], manifest(off))
        installation.turn_on(off)
        installation.wait_until_gone()
        for node in (on, off):
            assert differing(before[node.name], manifest(node)) == []
            node.cri.pull(fresh_image().reference())


def test_another_port_is_on_every_node_and_pulls_go_through_it_as_before(
    bed: Bed, fresh_image: FreshImages
) -> None:
    nodes = bed.nodes[:2]
    with Installation(bed, nodes) as installation:
        before = {node.name: manifest(node) for node in nodes}
        installation.install()
        for port in (FRONT_PORT, OTHER_PORT):
            if port != FRONT_PORT:
                installation.move_front(port)
            image = fresh_image()
            for node in nodes:
                node.cri.pull(image.reference())
                assert until(partial(_came_through_the_agent, node, image.image))
        installation.uninstall(wait_s=1)
        installation.wait_until_gone()
        for node in nodes:
            assert differing(before[node.name], manifest(node)) == []
