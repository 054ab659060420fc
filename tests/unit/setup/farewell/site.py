"""A cluster with Shoal on its nodes: objects on a stand-in of the API server, files in folders."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from shoal.adapters.kube.api import KubeConnection, connected
from shoal.adapters.runtime.registry_name import RegistryName
from shoal.setup.farewell.job import Uninstall
from shoal.setup.farewell.node import NodeFarewell
from shoal.setup.names import AGENT, FAREWELL, MADE_BY, NAME, NODE_CONDITION, component
from shoal.setup.node.containerd import ContainerdNode
from shoal.setup.node.told import ServedName
from shoal.testing.kube.api_server import KubeApiServer
from shoal.testing.kube.kubelets import Kubelets
from shoal.testing.kube.objects import ResourcePath
from unit.adapters.kube.serving import cluster

NS = "ns"
APPS = f"/apis/apps/v1/namespaces/{NS}"
CORE = f"/api/v1/namespaces/{NS}"
HUB = ServedName(RegistryName("docker.io"))
FRONT = "http://127.0.0.1:65001"


def daemonset(name: str, part: str) -> dict[str, Any]:
    """Return a DaemonSet of one of Shoal's components."""
    template = {"metadata": {"labels": component(part)}, "spec": {}}
    return {
        "apiVersion": "apps/v1",
        "kind": "DaemonSet",
        "metadata": {"name": name},
        "spec": {"template": template},
    }


MANIFESTS: list[dict[str, Any]] = [
    {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": FAREWELL}},
    daemonset(FAREWELL, "farewell"),
]
# What the set-up Job and the controller have made.
MADE = (
    f"{CORE}/configmaps/{NAME}-agent",
    f"{CORE}/secrets/{NAME}-ca",
    f"{CORE}/secrets/{NAME}-webhook-tls",
)


@dataclass(slots=True)
class Site:
    """Nodes with an installed runtime and a store, and their API server."""

    folder: Path
    server: KubeApiServer
    kube: KubeConnection
    kubelets: Kubelets = field(init=False)
    running: dict[str, "asyncio.Task[None]"] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Have pods of the farewell do what they do on each node."""
        self.kubelets = Kubelets(self.server, started=self._started, stopped=self._stopped)

    def add_node(self, name: str, *, up: bool = True) -> None:
        """Make a node that has had its installer, and say so by its condition."""
        certs_d = self.folder / name / "containerd" / "certs.d" / "quay.io"
        certs_d.mkdir(parents=True)
        (certs_d / "hosts.toml").write_text('server = "https://quay.io"\n')
        ContainerdNode(self.folder / name / "containerd").apply(
            [HUB, ServedName(RegistryName("quay.io"))], front_url=FRONT, release=None
        )
        store = self.folder / name / "store" / "shoal"
        (store / "blobs").mkdir(parents=True)
        (store / "blobs" / "blob").write_bytes(b"content")
        self.kubelets.put_node(name, up=up)
        path = ResourcePath.parse(f"/api/v1/nodes/{name}")
        node = self.server.objects.get(path)
        assert node is not None
        node["status"]["conditions"].append({"type": NODE_CONDITION, "status": "True"})

    def farewell(self, node: str) -> NodeFarewell:
        """Return the farewell of a node."""
        return NodeFarewell(
            kube=self.kube,
            namespace=NS,
            node=node,
            runtime=ContainerdNode(self.folder / node / "containerd"),
            store=self.folder / node / "store" / "shoal",
            settle_s=0.01,
            poll_s=0.01,
        )

    def uninstall(self, *, wait_s: float = 60.0, webhook: bool = True) -> Uninstall:
        """Return the Job, in a hurry."""
        return Uninstall(
            kube=self.kube,
            namespace=NS,
            manifests=MANIFESTS,
            wait_s=wait_s,
            webhook=webhook,
            gone_s=60.0,
            pause_s=0.01,
            poll_s=0.01,
        )

    def is_clean(self, node: str) -> bool:
        """Whether nothing of Shoal's is on a node, and what was there before is."""
        try:
            files = {
                str(path.relative_to(self.folder / node)): path.read_text()
                for path in (self.folder / node).rglob("*")
                if path.is_file()
            }
        except FileNotFoundError:
            return False  # something is being removed just now
        return (
            files == {"containerd/certs.d/quay.io/hosts.toml": 'server = "https://quay.io"\n'}
            and not (self.folder / node / "store" / "shoal").exists()
        )

    def listed(self) -> set[str]:
        """Return the nodes that are still to be cleaned."""
        found = self.server.objects.get(ResourcePath.parse(f"{CORE}/configmaps/{FAREWELL}"))
        return set(found["data"]) if found is not None else set()

    def names(self, path: str) -> list[str]:
        """Return the names of the objects in a collection."""
        found = self.server.objects.all(ResourcePath.parse(path), lambda _: True)
        return [it["metadata"]["name"] for it in found]

    async def until(self, condition: Any) -> None:
        """Wait until something is so."""
        async with asyncio.timeout(60):
            while not condition():  # noqa: ASYNC110 - files and objects wake nobody
                await asyncio.sleep(0.01)

    async def _started(self, node: str, pod: dict[str, Any]) -> None:
        if pod["metadata"]["labels"] == component("farewell"):
            work = self.farewell(node).run()
            self.running[node] = asyncio.get_running_loop().create_task(work)

    async def _stopped(self, node: str, pod: dict[str, Any]) -> None:
        if pod["metadata"]["labels"] == component("farewell"):
            await _ended(self.running.pop(node))

    async def step_for_ever(self) -> None:
        """Be the kubelets."""
        while True:
            await self.kubelets.step()
            await asyncio.sleep(0.01)


async def _ended(task: "asyncio.Task[None]") -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


@asynccontextmanager
async def site(folder: Path) -> AsyncIterator[Site]:
    """Run a cluster on which Shoal is installed, without nodes yet."""
    (folder / "api").mkdir()
    async with cluster(folder / "api") as made, connected(made.access, most=8) as kube:
        it = Site(folder / "nodes", made.server, kube)
        made.server.put(f"{APPS}/daemonsets/{AGENT}", daemonset(AGENT, "agent"))
        made.server.put(f"{APPS}/deployments/{NAME}-controller", {})
        hook = f"/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/{NAME}"
        made.server.put(hook, {"webhooks": []})
        owner = made.server.objects.get(ResourcePath.parse(hook))
        assert owner is not None
        for path in MADE:
            made.server.put(path, {})
        made.server.put(
            "/api/v1/namespaces/team/secrets/acr-credential-theirs-p2p",
            {
                "metadata": {
                    "labels": MADE_BY,
                    "ownerReferences": [{"uid": owner["metadata"]["uid"]}],
                }
            },
        )
        made.server.put("/api/v1/namespaces/team/secrets/theirs", {})
        stepping = asyncio.get_running_loop().create_task(it.step_for_ever())
        try:
            yield it
        finally:
            for task in (stepping, *it.running.values()):
                await _ended(task)
