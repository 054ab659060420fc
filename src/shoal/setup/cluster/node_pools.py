"""Reads NodePool objects and nodes from the API server; what they mean is in `pools`."""

from collections.abc import AsyncIterator
from typing import Any

from shoal.adapters.kube.api import KubeConnection, KubeError, KubeMissing
from shoal.setup.cluster.objects import NODES
from shoal.setup.cluster.pools import NodeSeen, Pool, node_seen, pool_seen

# ACK's group has had two names; OpenYurt's is the third. A cluster has one of them, or none.
GROUPS = ("apps.openyurt.io", "nodepool.alibabacloud.com", "alibabacloud.com")
_PAGE = 500
_MOST = 100_000


async def read_pools(kube: KubeConnection) -> list[Pool]:
    """Return all node pools; none where the cluster knows no such kind.

    Raises:
        KubeError: it is not known whether there are any.
    """
    pools: list[Pool] = []
    for group in GROUPS:
        try:
            told = await kube.page(f"/apis/{group}", {})
            version = (told.get("preferredVersion") or {}).get("groupVersion")
            if isinstance(version, str):
                pools += [
                    pool_seen(item) async for item in _items(kube, f"/apis/{version}/nodepools")
                ]
        except KubeMissing:
            continue
    return pools


async def read_nodes(kube: KubeConnection) -> list[NodeSeen]:
    """Return all nodes, by their metadata alone.

    Raises:
        KubeError: they are not known.
    """
    return [node_seen(item) async for item in _items(kube, NODES, metadata_only=True)]


async def _items(
    kube: KubeConnection, path: str, *, metadata_only: bool = False
) -> AsyncIterator[dict[str, Any]]:
    query = {"limit": str(_PAGE)}
    count = 0
    while True:
        page = await kube.page(path, query, metadata_only=metadata_only)
        for item in page.get("items") or []:
            count += 1
            if not isinstance(item, dict) or count > _MOST:
                raise KubeError(f"the list at {path} is none, or has more than {_MOST} objects")
            yield item
        token = (page.get("metadata") or {}).get("continue")
        if not isinstance(token, str) or not token:
            return
        query = {"limit": str(_PAGE), "continue": token}
