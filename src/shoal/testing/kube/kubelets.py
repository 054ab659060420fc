"""What a cluster's nodes do with DaemonSets: a pod on each that is up, while it is meant."""

from collections.abc import Awaitable, Callable
from typing import Any

from shoal.testing.kube.api_server import KubeApiServer
from shoal.testing.kube.objects import ResourcePath

_DAEMONSETS = ResourcePath("apps/v1", None, "daemonsets", None)
_PODS = ResourcePath("v1", None, "pods", None)
_OWNER = "shoal.testing/daemonset"

# Called with the node's name and the pod.
Hook = Callable[[str, dict[str, Any]], Awaitable[None]]


async def _nothing(_node: str, _pod: dict[str, Any]) -> None:
    pass


class Kubelets:
    """Nodes that can go down and return; `step` brings pods in line with what is meant.

    A node that is down keeps its pods, which are said to be ending and do not end; whoever asks
    finds them until it has returned.
    """

    def __init__(
        self, server: KubeApiServer, *, started: Hook = _nothing, stopped: Hook = _nothing
    ) -> None:
        """Look after `server`'s objects.

        Args:
            server: the API server.
            started: what a pod's start does.
            stopped: what its end does.
        """
        self._server = server
        self._started = started
        self._stopped = stopped
        self._up: dict[str, bool] = {}
        self._running: set[str] = set()

    def put_node(self, name: str, *, up: bool = True) -> None:
        """Make a node, or let it go down or return."""
        self._up[name] = up
        path = f"/api/v1/nodes/{name}"
        found = self._server.objects.get(ResourcePath.parse(path)) or {}
        others = [
            it
            for it in (found.get("status") or {}).get("conditions") or ()
            if it["type"] != "Ready"
        ]
        ready = {"type": "Ready", "status": "True" if up else "Unknown"}
        self._server.put(path, {**found, "status": {"conditions": [ready, *others]}})

    async def step(self) -> None:
        """Make missing pods, and end those that nobody means any more, on nodes that are up."""
        objects = self._server.objects
        # As the garbage collector finds what was made for an owner that had gone by then.
        for orphan in objects.orphans():
            self._server.delete(str(orphan))
        daemonsets = {it["metadata"]["uid"]: it for it in objects.all(_DAEMONSETS, lambda _: True)}
        pods = {_path(pod): pod for pod in objects.all(_PODS, lambda _: True)}
        for path, pod in pods.items():
            owner = pod["metadata"].get("annotations", {}).get(_OWNER)
            if owner is not None and owner not in daemonsets:
                await self._end(path, pod)
        for daemonset in daemonsets.values():
            for node, up in self._up.items():
                path = _path_on(daemonset, node)
                if up and path not in pods and _is_meant(daemonset, node):
                    await self._begin(path, daemonset, node)

    async def _begin(self, path: str, daemonset: dict[str, Any], node: str) -> None:
        template = daemonset["spec"]["template"]
        metadata = {
            "labels": template["metadata"]["labels"],
            "annotations": {_OWNER: daemonset["metadata"]["uid"]},
        }
        pod = {"metadata": metadata, "spec": {**template["spec"], "nodeName": node}}
        self._server.put(path, pod)
        self._running.add(path)
        await self._started(node, pod)

    async def _end(self, path: str, pod: dict[str, Any]) -> None:
        node = pod["spec"]["nodeName"]
        if not self._up.get(node):
            if "deletionTimestamp" not in pod["metadata"]:
                metadata = {**pod["metadata"], "deletionTimestamp": "2030-01-01T00:00:00Z"}
                self._server.put(path, {**pod, "metadata": metadata})
            return
        if path in self._running:
            self._running.discard(path)
            await self._stopped(node, pod)
        self._server.delete(path)


def _path(pod: dict[str, Any]) -> str:
    metadata = pod["metadata"]
    return f"/api/v1/namespaces/{metadata['namespace']}/pods/{metadata['name']}"


def _path_on(daemonset: dict[str, Any], node: str) -> str:
    metadata = daemonset["metadata"]
    return f"/api/v1/namespaces/{metadata['namespace']}/pods/{metadata['name']}-{node}"


def _is_meant(daemonset: dict[str, Any], node: str) -> bool:
    affinity = daemonset["spec"]["template"]["spec"].get("affinity")
    if affinity is None:
        return True
    required = affinity["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    return any(
        all(
            field["key"] == "metadata.name" and field["values"] == [node]
            for field in term.get("matchFields", ())
        )
        for term in required["nodeSelectorTerms"]
    )
