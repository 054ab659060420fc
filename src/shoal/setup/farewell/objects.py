"""The farewell's objects: where they are, and the chart's manifests made ready for a cluster."""

import copy
from collections.abc import Iterable, Mapping
from typing import Any

import yaml

from shoal.adapters.kube.api import KubeConnection
from shoal.core.errors import SettingsError
from shoal.setup.names import FAREWELL, MADE_BY, component, selector

_COLLECTIONS = {
    "ServiceAccount": "/api/v1/namespaces/{}/serviceaccounts",
    "Role": "/apis/rbac.authorization.k8s.io/v1/namespaces/{}/roles",
    "RoleBinding": "/apis/rbac.authorization.k8s.io/v1/namespaces/{}/rolebindings",
    "DaemonSet": "/apis/apps/v1/namespaces/{}/daemonsets",
}
# Nodes of a page are some MB until they are read.
_PAGE_OBJECTS = "100"
# A cluster of 5,000 nodes has 5,000 of these pods.
_MAX_PAGES = 200


def farewell_path(namespace: str) -> str:
    """Return the path of the ConfigMap that lists the nodes."""
    return f"/api/v1/namespaces/{namespace}/configmaps/{FAREWELL}"


def collection_of(manifest: Mapping[str, Any], namespace: str) -> str:
    """Return the path of the collection that an object belongs to."""
    return _COLLECTIONS[manifest["kind"]].format(namespace)


async def everything(
    kube: KubeConnection, path: str, query: Mapping[str, str] | None = None
) -> list[dict[str, Any]]:
    """Return all objects of a collection, page by page: of each its name, node and conditions.

    A Node has some 10 KB with its images, of which no more is looked at here.

    Raises:
        KubeError: they could not be had.
    """
    found: list[dict[str, Any]] = []
    token = ""
    for _ in range(_MAX_PAGES):
        asked = {**(query or {}), "limit": _PAGE_OBJECTS}
        page = await kube.page(path, asked | ({"continue": token} if token else {}))
        found += [_seen(thing) for thing in page.get("items") or []]
        token = (page.get("metadata") or {}).get("continue") or ""
        if not token:
            break
    return found


def _seen(thing: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "metadata": {"name": thing["metadata"]["name"]},
        "spec": {"nodeName": (thing.get("spec") or {}).get("nodeName")},
        "status": {"conditions": (thing.get("status") or {}).get("conditions") or []},
    }


async def agent_pods(
    kube: KubeConnection, namespace: str, *, node: str | None = None
) -> list[dict[str, Any]]:
    """Return the pods of agents, those that are ending too; see `everything`.

    Raises:
        KubeError: they could not be had.
    """
    query = {"labelSelector": selector(component("agent"))}
    if node is not None:
        query["fieldSelector"] = f"spec.nodeName={node}"
    return await everything(kube, f"/api/v1/namespaces/{namespace}/pods", query)


def read_manifests(text: str) -> list[dict[str, Any]]:
    """Return the objects of the chart's farewell.yaml.

    Raises:
        SettingsError: it is not the chart's.
    """
    try:
        found = [document for document in yaml.safe_load_all(text) if document]
    except (yaml.YAMLError, ValueError, RecursionError) as exc:
        raise SettingsError(f"farewell.yaml is no YAML: {exc}") from exc
    if not all(isinstance(it, dict) and it.get("kind") in _COLLECTIONS for it in found):
        raise SettingsError(f"farewell.yaml holds other objects than {', '.join(_COLLECTIONS)}")
    return found


def made_ready(
    manifest: Mapping[str, Any], *, owner: Mapping[str, Any], nodes: Iterable[str]
) -> dict[str, Any]:
    """Return an object with its owner, and a DaemonSet for exactly `nodes`."""
    made = copy.deepcopy(dict(manifest))
    metadata = made["metadata"]
    metadata["labels"] = {**metadata.get("labels", {}), **MADE_BY}
    metadata["ownerReferences"] = [
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "name": owner["metadata"]["name"],
            "uid": owner["metadata"]["uid"],
        }
    ]
    if made["kind"] == "DaemonSet":
        # By name, one term a node: a label may be another than the name, and a field takes one.
        terms = [
            {"matchFields": [{"key": "metadata.name", "operator": "In", "values": [node]}]}
            for node in sorted(nodes)
        ]
        required = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}
        made["spec"]["template"]["spec"]["affinity"] = {"nodeAffinity": required}
    return made
