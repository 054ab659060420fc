"""What Kubernetes' own controllers and a node's set-up make of an installed cluster's nodes."""

from pathlib import Path

from chart.rendering import NAME, NAMESPACE
from setup.installed import Installed
from shoal.setup.node.controller import Condition
from shoal.setup.node.controller import Controller as ControllerClient
from shoal.setup.node.identity import Identity as NodeIdentity
from shoal.testing.kube.accounts import Identity, service_account
from shoal.testing.kube.slices import endpoint_slice

AGENT_MAP = f"/api/v1/namespaces/{NAMESPACE}/configmaps/{NAME}-agent"
_CLAIM = "authentication.kubernetes.io/"


def put_nodes(cluster: Installed, hosts: dict[str, str], pools: dict[str, str]) -> None:
    """Have nodes at these addresses in these pools; the pool `near` has inter-node connection."""
    for pool, is_connected in (("near", True), ("far", False)):
        spec = {"type": "Edge", "interConnectivity": is_connected}
        path = f"/apis/apps.openyurt.io/v1beta2/nodepools/{pool}"
        cluster.server.put(path, {"metadata": {}, "spec": spec})
    for name, host in hosts.items():
        labels = {"apps.openyurt.io/nodepool": pools[name], "openyurt.io/is-edge-worker": "true"}
        node = {
            "metadata": {"labels": labels},
            "status": {
                "addresses": [{"type": "InternalIP", "address": host}],
                "nodeInfo": {"containerRuntimeVersion": "containerd://1.7.28"},
            },
        }
        cluster.server.put(f"/api/v1/nodes/{name}", node)


def put_endpoints(cluster: Installed, hosts: dict[str, str], *, port: int) -> None:
    """Have the DaemonSet's pods ready, as Kubernetes' own controllers would."""
    endpoints = [
        {
            "addresses": [host],
            "conditions": {"ready": True},
            "nodeName": name,
            "targetRef": {"kind": "Pod", "name": f"agent-{name}", "uid": f"pod-{name}"},
        }
        for name, host in hosts.items()
    ]
    held = endpoint_slice(endpoints, service=f"{NAME}-peers", port=port)
    path = f"/apis/discovery.k8s.io/v1/namespaces/{NAMESPACE}/endpointslices/peers-1"
    cluster.server.put(path, held)


def prepare(cluster: Installed, name: str, host: str, *, controller_port: int) -> Path:
    """Do on a node what `shoal setup prepare` does; return the folder with its certificate.

    Its pod's token is one that says no node, as before Kubernetes 1.29: the pod is looked up.
    """
    token = cluster.folder / f"{name}.token"
    token.write_text(f"node-token-of-{name}")
    ca = cluster.folder / "ca.crt"
    ca.write_text(cluster.get(AGENT_MAP)["data"]["ca.crt"])
    pods = f"/api/v1/namespaces/{NAMESPACE}/pods"
    cluster.server.put(f"{pods}/agent-{name}", {"spec": {"nodeName": name}})
    uid = cluster.get(f"{pods}/agent-{name}")["metadata"]["uid"]
    cluster.server.identities[token.read_text()] = Identity(
        service_account(NAMESPACE, f"{NAME}-sa"),
        audiences=("shoal-controller",),
        extra={f"{_CLAIM}pod-name": [f"agent-{name}"], f"{_CLAIM}pod-uid": [uid]},
    )
    asked = ControllerClient(
        namespace=NAMESPACE,
        host="127.0.0.1",
        port=controller_port,
        authority=ca,
        token=token,
        timeout_s=60,
    )
    folder = cluster.folder / f"identity-{name}"
    identity = NodeIdentity(folder, asked, address=host, authority=ca)
    identity.renew()
    assert identity.is_good
    asked.report(Condition("True", "Installed", "containerd asks the agent first"))
    return folder
