"""Kubelets: pods come and go with their DaemonSet, on nodes that are up."""

from pathlib import Path
from typing import Any

from shoal.testing.certificates import PrivateAuthority
from shoal.testing.kube.api_server import KubeApiServer
from shoal.testing.kube.kubelets import Kubelets
from shoal.testing.kube.objects import ResourcePath

PATH = "/apis/apps/v1/namespaces/ns/daemonsets/d"
PODS = ResourcePath("v1", "ns", "pods", None)


def _daemonset(*nodes: str) -> dict[str, Any]:
    spec: dict[str, Any] = {}
    if nodes:
        terms = [
            {"matchFields": [{"key": "metadata.name", "operator": "In", "values": [node]}]}
            for node in nodes
        ]
        required = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}
        spec["affinity"] = {"nodeAffinity": required}
    return {"spec": {"template": {"metadata": {"labels": {"a": "b"}}, "spec": spec}}}


class Seen:
    """A cluster of two nodes, one of them down, and what happened on them."""

    def __init__(self, tmp_path: Path) -> None:
        authority = PrivateAuthority(tmp_path)
        self.server = KubeApiServer(tls=authority.server_context("127.0.0.1"))
        self.happened: list[str] = []
        self.kubelets = Kubelets(self.server, started=self._started, stopped=self._stopped)
        self.kubelets.put_node("n1")
        self.kubelets.put_node("n2", up=False)

    async def _started(self, node: str, _pod: dict[str, Any]) -> None:
        self.happened.append(f"+{node}")

    async def _stopped(self, node: str, _pod: dict[str, Any]) -> None:
        self.happened.append(f"-{node}")

    def pods(self) -> list[str]:
        """Return the names of the pods that the API server has."""
        found = self.server.objects.all(PODS, lambda _: True)
        return [
            it["metadata"]["name"] + (" ending" if "deletionTimestamp" in it["metadata"] else "")
            for it in found
        ]


async def test_a_node_that_is_down_gets_its_pod_when_it_returns_and_keeps_it_when_it_goes(
    tmp_path: Path,
) -> None:
    seen = Seen(tmp_path)
    seen.server.put(PATH, _daemonset())
    await seen.kubelets.step()
    assert (seen.pods(), seen.happened) == (["d-n1"], ["+n1"])
    seen.kubelets.put_node("n2")
    await seen.kubelets.step()
    seen.kubelets.put_node("n1", up=False)
    seen.server.delete(PATH)
    await seen.kubelets.step()
    assert (seen.pods(), seen.happened) == (["d-n1 ending"], ["+n1", "+n2", "-n2"])
    seen.kubelets.put_node("n1")
    await seen.kubelets.step()
    assert (seen.pods(), seen.happened[-1]) == ([], "-n1")


async def test_only_nodes_that_are_named_get_a_pod_where_any_is(tmp_path: Path) -> None:
    seen = Seen(tmp_path)
    seen.kubelets.put_node("n2")
    seen.server.put(PATH, _daemonset("n2"))
    await seen.kubelets.step()
    assert seen.pods() == ["d-n2"]


async def test_what_is_made_for_an_owner_that_has_gone_is_collected(tmp_path: Path) -> None:
    seen = Seen(tmp_path)
    metadata = {"ownerReferences": [{"uid": "of nobody"}]}
    for path in (PATH, "/api/v1/namespaces/ns/serviceaccounts/a"):
        seen.server.put(path, {**_daemonset(), "metadata": metadata})
    await seen.kubelets.step()
    assert seen.pods() == []
    assert seen.server.objects.orphans() == []
