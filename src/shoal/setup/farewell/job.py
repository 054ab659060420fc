"""`shoal setup uninstall`: takes away what is in the cluster, and has the nodes cleaned.

Rule: everything here may be done again. The Job that runs it is retried, and who uninstalls twice
finds a list of nodes from the first time.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from shoal.adapters.kube.api import KubeConflict, KubeConnection, KubeMissing
from shoal.adapters.kube.patience import persist
from shoal.setup.farewell.objects import (
    agent_pods,
    collection_of,
    everything,
    farewell_path,
    made_ready,
)
from shoal.setup.names import (
    AGENT,
    AGENT_SETTINGS,
    AUTHORITY,
    CONTROLLER,
    FAREWELL,
    MADE_BY,
    NAME,
    NODE_CONDITION,
    WEBHOOK_TLS,
    component,
    selector,
)

_log = logging.getLogger("shoal.setup")

_NODES = "/api/v1/nodes"
_WAITING = "waiting"
# Each step is tried for as long: an API server that restarts is back by then.
_PATIENCE_S = 60.0
# An agent takes 30 s to drain; who is there after this has another reason to be.
_GONE_S = 90.0
_AT_ONCE = 8


@dataclass(frozen=True, slots=True)
class Left:
    """A node that could not be cleaned yet, and why."""

    node: str
    why: str


@dataclass(slots=True, kw_only=True)
class Uninstall:
    """One run of the Job."""

    kube: KubeConnection
    namespace: str
    manifests: Sequence[dict[str, Any]]
    """The farewell's, as the chart has them."""

    wait_s: float
    """Seconds to wait for nodes to be cleaned."""

    webhook: bool = False
    """Whether there is a webhook; its copies of pull secrets are owned by its configuration."""

    say: Callable[[str], None] = lambda _line: None
    gone_s: float = _GONE_S
    patience_s: float = _PATIENCE_S
    pause_s: float = 0.5
    """Before something is tried again, at first."""

    poll_s: float = 1.0

    async def run(self) -> list[Left]:
        """Do it; return the nodes that are still to be cleaned, by themselves, when they return.

        Raises:
            KubeError: the API server could not be had, or refuses.
        """
        nodes = await self._persist(self._nodes_to_clean)
        owner = await self._persist(lambda: self._recorded(nodes))
        for path in self._what_writes():
            await self._deleted(path)
        await self._writers_gone()
        await self._without_conditions()
        left: list[Left] = []
        if owner is not None:
            listed = sorted(owner.get("data") or ())
            self.say(f"cleaning {len(listed)} nodes")
            for manifest in self.manifests:
                await self._sent(made_ready(manifest, owner=owner, nodes=listed))
            left = await self._cleaned()
        for path in self._what_is_left():
            await self._deleted(path)
        return left

    async def _nodes_to_clean(self) -> list[str]:
        """Return the nodes that have, or once had, an installer."""
        pods = await agent_pods(self.kube, self.namespace)
        nodes = {node["metadata"]["name"]: node for node in await everything(self.kube, _NODES)}
        with_pod = {pod["spec"].get("nodeName") for pod in pods}
        reported = {name for name, node in nodes.items() if _condition(node, NODE_CONDITION)}
        # A node that was deleted meanwhile can neither be cleaned nor be asked for anything.
        return sorted((with_pod | reported) & nodes.keys())

    async def _recorded(self, nodes: Sequence[str]) -> dict[str, Any] | None:
        """Write the list before anything is taken away from which it could be made again."""
        path = farewell_path(self.namespace)
        data = dict.fromkeys(nodes, _WAITING)
        if not data:
            return await self.kube.find(path)
        try:
            return await self.kube.patch(path, {"data": data})
        except KubeMissing:
            pass  # as at the first time
        metadata = {"name": FAREWELL, "namespace": self.namespace, "labels": dict(MADE_BY)}
        thing = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}
        return await self.kube.create(path.rpartition("/")[0], thing)

    def _what_writes(self) -> list[str]:
        namespaced = f"/apis/apps/v1/namespaces/{self.namespace}"
        hook = f"/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/{NAME}"
        return [
            *([hook] if self.webhook else []),
            f"{namespaced}/deployments/{CONTROLLER}",
            f"{namespaced}/daemonsets/{AGENT}",
        ]

    async def _writers_gone(self) -> None:
        """Wait for the pods of agents and controller to end, where nodes are there to end them."""
        loop = asyncio.get_running_loop()
        until_s = loop.time() + self.gone_s
        while loop.time() < until_s:
            with contextlib.suppress(KubeMissing):
                nodes = await self._persist(lambda: everything(self.kube, _NODES))
                pods = [
                    *await self._persist(lambda: agent_pods(self.kube, self.namespace)),
                    *await self._persist(self._controller_pods),
                ]
                there = {node["metadata"]["name"] for node in nodes if _is_ready(node)}
                if not any(pod["spec"].get("nodeName") in there for pod in pods):
                    return
            await asyncio.sleep(self.poll_s)
        self.say("some pods do not end; their nodes are cleaned once they have")

    async def _controller_pods(self) -> list[dict[str, Any]]:
        query = {"labelSelector": selector(component("controller"))}
        return await everything(self.kube, f"/api/v1/namespaces/{self.namespace}/pods", query)

    async def _without_conditions(self) -> None:
        """Take the condition off every Node that has it, of nodes without an agent too."""
        nodes = await self._persist(lambda: everything(self.kube, _NODES))
        at_once = asyncio.Semaphore(_AT_ONCE)
        gone = {"type": NODE_CONDITION, "$patch": "delete"}

        async def take(name: str) -> None:
            async with at_once:
                with contextlib.suppress(KubeMissing):
                    await self._persist(
                        lambda: self.kube.patch(
                            f"{_NODES}/{name}/status",
                            {"status": {"conditions": [gone]}},
                            kind="strategic",
                        )
                    )

        async with asyncio.TaskGroup() as group:
            for node in nodes:
                if _condition(node, NODE_CONDITION):
                    group.create_task(take(node["metadata"]["name"]))

    async def _sent(self, manifest: dict[str, Any]) -> None:
        collection = collection_of(manifest, self.namespace)

        async def send() -> None:
            try:
                await self.kube.create(collection, manifest)
            except KubeConflict:
                # From a run before this one; only the DaemonSet depends on the list.
                if manifest["kind"] != "DaemonSet":
                    return
                change = {
                    "metadata": {"ownerReferences": manifest["metadata"]["ownerReferences"]},
                    "spec": {"template": manifest["spec"]["template"]},
                }
                with contextlib.suppress(KubeMissing):  # the last node has signed off meanwhile
                    await self.kube.patch(f"{collection}/{manifest['metadata']['name']}", change)

        await self._persist(send)

    async def _cleaned(self) -> list[Left]:
        """Wait for the list to be gone; return who is on it after `wait_s`."""
        loop = asyncio.get_running_loop()
        until_s = loop.time() + self.wait_s
        data: dict[str, str] = {}
        while True:
            found = await self._persist(lambda: self.kube.find(farewell_path(self.namespace)))
            if found is None:
                return []
            data = found.get("data") or {}
            if loop.time() >= until_s:
                break
            await asyncio.sleep(self.poll_s)
        nodes = {it["metadata"]["name"]: it for it in await everything(self.kube, _NODES)}
        return [Left(node, _why(said, nodes.get(node))) for node, said in sorted(data.items())]

    def _what_is_left(self) -> list[str]:
        core = f"/api/v1/namespaces/{self.namespace}"
        return [
            f"{core}/configmaps/{AGENT_SETTINGS}",
            f"{core}/secrets/{AUTHORITY}",
            f"{core}/secrets/{WEBHOOK_TLS}",
        ]

    async def _deleted(self, path: str) -> None:
        if await self._persist(lambda: self.kube.delete(path)):
            self.say(f"deleted {path.rpartition('/')[2]} ({path.split('/')[-2]})")

    async def _persist(self, work: Callable[[], Any]) -> Any:  # noqa: ANN401
        return await persist(work, limit_s=self.patience_s, first_pause_s=self.pause_s)


def summary(left: Iterable[Left]) -> list[str]:
    """Return what to tell of nodes that are still to be cleaned."""
    lines = [f"{it.node}: {it.why}" for it in left]
    if not lines:
        return ["every node is as it was"]
    return [
        f"{len(lines)} nodes are not cleaned yet; each is by itself, when it can be:",
        *(f"  {line}" for line in lines),
        f"ConfigMap {FAREWELL} lists them, and goes with the last. For nodes that never return: "
        f"kubectl delete configmap {FAREWELL}",
    ]


def _condition(node: dict[str, Any], type_: str) -> dict[str, Any] | None:
    conditions = (node.get("status") or {}).get("conditions") or ()
    return next((it for it in conditions if it.get("type") == type_), None)


def _is_ready(node: dict[str, Any]) -> bool:
    ready = _condition(node, "Ready")
    return ready is not None and ready.get("status") == "True"


def _why(said: str, node: dict[str, Any] | None) -> str:
    if node is None:
        return "its Node was deleted"
    if said != _WAITING:
        return said
    return "its farewell pod is not done" if _is_ready(node) else "it is down"
