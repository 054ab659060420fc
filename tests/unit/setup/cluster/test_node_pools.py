"""Pools and nodes, read page by page."""

from pathlib import Path

from shoal.adapters.kube.api import connected
from shoal.setup.cluster.node_pools import read_nodes, read_pools
from shoal.setup.cluster.pools import Kind, Pool
from unit.setup.cluster.world import world


async def test_a_cluster_without_the_kind_has_no_pools(tmp_path: Path) -> None:
    async with world(tmp_path) as here, connected(here.access) as kube:
        assert await read_pools(kube) == []


async def test_the_preferred_version_of_each_group_is_read(tmp_path: Path) -> None:
    async with world(tmp_path) as here, connected(here.access) as kube:
        spec = {"spec": {"type": "Cloud"}}
        here.server.put("/apis/apps.openyurt.io/v1beta2/nodepools/np1", spec)
        here.server.put("/apis/nodepool.alibabacloud.com/v1/nodepools/np2", spec)
        assert await read_pools(kube) == [Pool("np1", Kind.CLOUD), Pool("np2", Kind.CLOUD)]


async def test_nodes_are_read_in_pages_and_by_their_metadata_alone(tmp_path: Path) -> None:
    async with world(tmp_path) as here, connected(here.access) as kube:
        for number in range(600):
            here.put_node(f"n{number}", pool="np1", edge="true")
        nodes = await read_nodes(kube)
        assert len(nodes) == 602
        assert nodes[-1].pool == "np1"
        assert len([seen for seen in here.server.requests if seen.verb == "list"]) == 2
