"""From `helm install` to a blob that goes between nodes: all but the kubelet is the real thing.

The chart's roles are kept to, so that a right that a command lacks fails here.
"""

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path

import aiohttp

from agent.conftest import START_TIMEOUT_S, Registry
from agent.sites import MB, PORTS, Node, addresses, blob
from chart.rendering import Helm
from setup.installed import installed, set_up
from setup.nodes import (
    controller_of,
    mounted,
    prepare,
    put_endpoints,
    put_nodes,
    values_for,
    write_settings,
)


async def test_nodes_of_a_pool_share_what_one_of_them_has_pulled(
    tmp_path: Path, helm: Helm, registry: Registry
) -> None:
    hosts = dict(zip(("a", "b", "c"), addresses(3), strict=True))
    values = values_for(registry)
    async with AsyncExitStack() as stack:
        cluster = await stack.enter_async_context(installed(helm, tmp_path, values))
        put_nodes(cluster, hosts, {"a": "near", "b": "near", "c": "far"})
        said = await set_up(cluster)
        assert any(line.startswith("sites: node pool far (1 node)") for line in said)

        controller = controller_of(cluster)
        nodes: list[Node] = []
        async with controller.running():
            for name, host in hosts.items():
                identity = await asyncio.to_thread(
                    prepare, cluster, name, host, controller_port=controller.port
                )
                node = Node(host, tmp_path, registry, [])
                write_settings(node, mounted(cluster, name, host, identity))
                nodes.append(node)
        # From here on nobody needs the controller.
        conditions = cluster.get("/api/v1/nodes/a")["status"]["conditions"]
        assert [one["type"] for one in conditions] == ["ShoalReady"]

        put_endpoints(cluster, hosts, port=PORTS["peer"])
        for node in nodes:
            node.start()
            stack.callback(node.stop)
        timeout = aiohttp.ClientTimeout(total=120)
        session = await stack.enter_async_context(
            aiohttp.ClientSession(timeout=timeout, auto_decompress=False)
        )
        async with asyncio.timeout(START_TIMEOUT_S):
            for node, peers in zip(nodes, (1, 1, 0), strict=True):
                await node.ready(session, peers=peers)
        digest = blob(registry, size := 5 * MB)
        first, second, alone = nodes
        await first.pull(session, digest)
        await first.until(lambda: any((tmp_path / "store-a" / "blobs").rglob(digest.hex)))
        await second.pull(session, digest)
        assert await second.metric(session, "shoal_peer_received_bytes_total") == size
        assert registry.inner.counters.blob_body_bytes[str(digest)] == size

        # The API server goes for good, and pulls go on; the node of the other pool is alone.
        await cluster.server.stop()
        other = blob(registry, size)
        await second.pull(session, other)
        await second.until(lambda: any((tmp_path / "store-b" / "blobs").rglob(other.hex)))
        await first.pull(session, other)
        assert registry.inner.counters.blob_body_bytes[str(other)] == size
        await alone.pull(session, other)
        assert registry.inner.counters.blob_body_bytes[str(other)] == 2 * size
        assert await alone.metric(session, "shoal_peers_connected") == 0
