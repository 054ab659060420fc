"""Which node a request to the controller comes from: proved by its pod's token, never by its words.

The token is projected for one pod, for one hour, for this audience alone; the API server says
whose it is. Newer clusters say the pod's node too; older ones name the pod, which is looked up.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from shoal.adapters.kube.api import KubeConnection
from shoal.core.errors import BadInput, ShoalError
from shoal.core.trust.identity import node_name
from shoal.setup.cluster.objects import (
    AGENT_ACCOUNT,
    NODES,
    TOKEN_AUDIENCE,
    TOKEN_REVIEWS,
    collection,
)

_CLAIM = "authentication.kubernetes.io/"
# Of a Node's addresses, those by which members are known: pods on the host network have them.
_ADDRESS_TYPES = ("InternalIP",)
_MOST_ADDRESSES = 16


class TokenRefused(ShoalError):
    """The token proves nothing here (401)."""


class NodeRefused(ShoalError):
    """The token is good, and yet its holder gets nothing (403)."""


@dataclass(frozen=True, slots=True)
class ProvedNode:
    """A node, as the API server knows it."""

    name: str
    uid: str
    addresses: tuple[str, ...]
    runtime: str
    """As `containerd://1.7.28`; empty: not known."""
    conditions: tuple[Mapping[str, Any], ...] = ()


async def prove(kube: KubeConnection, token: str, *, namespace: str) -> ProvedNode:
    """Return the node on which the pod runs that a token belongs to.

    Raises:
        TokenRefused: it belongs to nobody, or is not for this.
        NodeRefused: it belongs to somebody else than an agent's pod on a node.
        KubeError: the API server did not say.
    """
    user = await _reviewed(kube, token)
    expected = f"system:serviceaccount:{namespace}:{AGENT_ACCOUNT}"
    if user.get("username") != expected:
        raise NodeRefused(f"the token is of {user.get('username')!r}, and not of {expected!r}")
    extra = user.get("extra")
    claims = extra if isinstance(extra, dict) else {}
    name = _claim(claims, "node-name") or await _node_of_pod(kube, claims, namespace)
    try:
        node_name(name)
    except BadInput as exc:
        raise NodeRefused(f"the token names no node: {exc}") from exc
    node = await kube.find(f"{NODES}/{name}")
    if node is None:
        raise NodeRefused(f"there is no node {name!r} any more")
    uid = str(node["metadata"].get("uid", ""))
    if (claimed := _claim(claims, "node-uid")) and claimed != uid:
        raise NodeRefused(f"the token is of an earlier node {name!r}")
    return _node(name, uid, node)


async def _reviewed(kube: KubeConnection, token: str) -> dict[str, Any]:
    review = {
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenReview",
        "spec": {"token": token, "audiences": [TOKEN_AUDIENCE]},
    }
    status = (await kube.create(TOKEN_REVIEWS, review)).get("status")
    if not isinstance(status, dict) or status.get("authenticated") is not True:
        raise TokenRefused("the token is not good, or has expired")
    # An API server that knows no audiences answers without them, for any token of its own.
    if TOKEN_AUDIENCE not in (status.get("audiences") or ()):
        raise TokenRefused(f"the token is not for {TOKEN_AUDIENCE}")
    user = status.get("user")
    return user if isinstance(user, dict) else {}


async def _node_of_pod(kube: KubeConnection, claims: Mapping[str, Any], namespace: str) -> str:
    name, uid = _claim(claims, "pod-name"), _claim(claims, "pod-uid")
    if not name or not uid:
        raise NodeRefused("the token is bound to no pod")
    try:
        node_name(name)  # pods are named by the same rule
    except BadInput as exc:
        raise NodeRefused("the token's pod has no name that can be one") from exc
    pod = await kube.find(f"{collection(namespace, 'pods')}/{name}")
    if pod is None or pod["metadata"].get("uid") != uid:
        raise NodeRefused(f"pod {name!r} of the token is gone")
    return str((pod.get("spec") or {}).get("nodeName") or "")


def _claim(claims: Mapping[str, Any], name: str) -> str:
    values = claims.get(f"{_CLAIM}{name}")
    return str(values[0]) if isinstance(values, list) and len(values) == 1 else ""


def _node(name: str, uid: str, thing: Mapping[str, Any]) -> ProvedNode:
    status = thing.get("status") or {}
    addresses = [
        str(one.get("address"))
        for one in status.get("addresses") or ()
        if one.get("type") in _ADDRESS_TYPES
    ]
    runtime = (status.get("nodeInfo") or {}).get("containerRuntimeVersion", "")
    return ProvedNode(
        name,
        uid,
        tuple(addresses[:_MOST_ADDRESSES]),
        str(runtime),
        tuple(status.get("conditions") or ()),
    )
