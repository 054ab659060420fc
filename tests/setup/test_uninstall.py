"""From an installed chart to nothing: what `helm uninstall` runs first, by the chart's roles."""

import asyncio
from pathlib import Path
from typing import Any

from chart.rendering import NAME, NAMESPACE, Helm, farewell
from setup.installed import Installed, installed
from shoal.adapters.kube.api import connected
from shoal.setup.farewell.job import Uninstall
from shoal.setup.farewell.node import NodeFarewell
from shoal.setup.names import MADE_BY, NODE_CONDITION, component
from shoal.setup.node.crio import CrioNode
from shoal.testing.kube.kubelets import Kubelets
from shoal.testing.kube.objects import ResourcePath

VALUES = {
    "registries": [{"name": "docker.io"}],
    "edgeNodePool": {"allNodes": True},
    "webhook": {"enable": True},
}
CORE = f"/api/v1/namespaces/{NAMESPACE}"
MADE = (
    f"{CORE}/configmaps/{NAME}-agent",
    f"{CORE}/secrets/{NAME}-ca",
    f"{CORE}/secrets/{NAME}-webhook-tls",
)
HOOK = f"/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/{NAME}"
COPY = "/api/v1/namespaces/team/secrets/acr-credential-theirs-p2p"


def _names(cluster: Installed) -> set[str]:
    """Return every object that is there, nodes apart."""
    objects = cluster.server.objects
    return {str(path) for path in objects.paths() if path.resource != "nodes"}


async def test_its_rights_are_enough_to_leave_only_what_helm_itself_takes_away(
    tmp_path: Path, helm: Helm
) -> None:
    async with installed(helm, tmp_path, VALUES) as cluster, asyncio.TaskGroup() as group:
        of_the_chart = _names(cluster)
        for path in MADE:
            cluster.server.put(path, {"metadata": {"labels": MADE_BY}})
        # The webhook's copies of pull secrets need nobody's right to delete secrets.
        owner = {"uid": cluster.get(HOOK)["metadata"]["uid"]}
        cluster.server.put(COPY, {"metadata": {"labels": MADE_BY, "ownerReferences": [owner]}})
        ended: list[str] = []
        access = cluster.access("farewell")

        async def say_farewell(node: str) -> None:
            async with connected(access) as kube:
                await NodeFarewell(
                    kube=kube,
                    namespace=NAMESPACE,
                    node=node,
                    runtime=CrioNode(tmp_path),
                    store=tmp_path / f"store-{node}",
                    settle_s=0.01,
                    poll_s=0.01,
                ).run()
            ended.append(node)

        async def started(node: str, pod: dict[str, Any]) -> None:
            if pod["metadata"]["labels"] == component("farewell"):
                group.create_task(say_farewell(node))

        kubelets = Kubelets(cluster.server, started=started)
        for node in ("n1", "n2"):
            kubelets.put_node(node)
            held = cluster.get(f"/api/v1/nodes/{node}")
            held["status"]["conditions"].append({"type": NODE_CONDITION, "status": "True"})

        async def step_for_ever() -> None:
            while True:
                await kubelets.step()
                await asyncio.sleep(0.01)

        stepping = group.create_task(step_for_ever())
        async with connected(cluster.access("uninstall-sa")) as kube:
            left = await Uninstall(
                kube=kube,
                namespace=NAMESPACE,
                manifests=farewell(cluster.manifests),
                wait_s=120,
                webhook=True,
                poll_s=0.01,
            ).run()
        async with asyncio.timeout(60):
            while _names(cluster) - of_the_chart:  # noqa: ASYNC110 - the garbage collector's turn
                await asyncio.sleep(0.01)
        stepping.cancel()

    assert left == []
    assert sorted(ended) == ["n1", "n2"]
    conditions = [
        condition["type"]
        for node in ("n1", "n2")
        for condition in cluster.get(f"/api/v1/nodes/{node}")["status"]["conditions"]
    ]
    assert conditions == ["Ready", "Ready"]
    for path in (HOOK, f"/apis/apps/v1/namespaces/{NAMESPACE}/daemonsets/{NAME}"):
        assert cluster.server.objects.get(ResourcePath.parse(path)) is None
