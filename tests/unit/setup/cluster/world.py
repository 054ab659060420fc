"""What the tests of the cluster's commands share: a cluster with nodes, and an installation."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from shoal.adapters.kube.api import KubeAccess
from shoal.setup.cluster.installation import Installation
from shoal.setup.cluster.job import JobTools
from shoal.setup.cluster.lookup import ByHand, RegistryLookup
from shoal.testing.kube.api_server import KubeApiServer
from unit.adapters.kube.serving import cluster

NAMESPACE = "aliyun-acr-acceleration"
NAME = "ack-acr-acceleration-p2p"
AGENT_MAP = f"/api/v1/namespaces/{NAMESPACE}/configmaps/{NAME}-agent"
AUTHORITY = f"/api/v1/namespaces/{NAMESPACE}/secrets/{NAME}-ca"

PLAIN = Installation(
    namespace=NAMESPACE,
    method="none",
    all_nodes=True,
    agent={"registries": [{"name": "registry.example.com"}], "front": {"port": 65001}},
)


def node(name: str, address: str = "", **labels: str) -> dict[str, Any]:
    """Return a Node; `labels` by the last part of their key: `pool`, `edge`."""
    keys = {"pool": "alibabacloud.com/nodepool-id", "edge": "alibabacloud.com/is-edge-worker"}
    return {
        "kind": "Node",
        "metadata": {"labels": {keys[key]: value for key, value in labels.items()}},
        "spec": {"podCIDR": "10.0.0.0/24"},
        "status": {
            "addresses": [
                {"type": "InternalIP", "address": address or "192.0.2.7"},
                {"type": "Hostname", "address": name},
            ],
            "nodeInfo": {"containerRuntimeVersion": "containerd://1.7.28"},
            "conditions": [{"type": "Ready", "status": "True"}],
        },
    }


@dataclass(slots=True)
class World:
    """A cluster, and what the commands in it are given."""

    server: KubeApiServer
    access: KubeAccess
    installation: Installation = PLAIN
    lookup: RegistryLookup = field(default_factory=ByHand)
    said: list[str] = field(default_factory=list)
    check_settings: Callable[[str], None] = lambda _: None
    rrsa_token: Path = Path("/nowhere")

    def tools(self) -> JobTools:
        """Return what the Job works with here."""
        return JobTools(
            access=self.access,
            lookup=self.lookup,
            check_settings=self.check_settings,
            say=self.said.append,
            rrsa_token=self.rrsa_token,
            account_dir=self.access.account_dir,
            patience_s=60,
        )

    def installed(self, **changes: Any) -> Installation:
        """Change the installation."""
        self.installation = replace(self.installation, **changes)
        return self.installation

    def put_node(self, name: str, address: str = "", **labels: str) -> None:
        """Add a node."""
        self.server.put(f"/api/v1/nodes/{name}", node(name, address, **labels))

    def get(self, path: str) -> dict[str, Any]:
        """Return an object as it is now.

        Raises:
            AssertionError: there is none.
        """
        from shoal.testing.kube.objects import ResourcePath

        found = self.server.objects.get(ResourcePath.parse(path))
        assert found is not None, path
        return found


@asynccontextmanager
async def world(folder: Path) -> AsyncIterator[World]:
    """Run a cluster of two nodes with no pools."""
    async with cluster(folder) as made:
        running = World(made.server, made.access)
        running.put_node("a", "192.0.2.1")
        running.put_node("b", "192.0.2.2")
        yield running
