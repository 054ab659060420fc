"""What Kubernetes' own controllers and a node's set-up make of an installed cluster's nodes."""

import asyncio
from pathlib import Path
from typing import Any

import yaml

from agent.conftest import Registry
from agent.sites import PORTS, Node
from chart.rendering import NAME, NAMESPACE
from setup.installed import Installed
from shoal.cli.setup_cluster import check_agent_settings
from shoal.setup.cluster.controller import Controller as ClusterController
from shoal.setup.cluster.controller import ControllerTools
from shoal.setup.cluster.lookup import ByHand
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


def values_for(registry: Registry) -> dict[str, Any]:
    """Return values.yaml for one registry, with the ports that agents of tests have."""
    return {
        "registries": [{"name": registry.address, "plain_http": True}],
        "p2p": {
            "port": PORTS["front"],
            "v2": {"p2pPort": PORTS["peer"], "exporter": {"port": PORTS["exporter"]}},
        },
    }


def controller_of(cluster: Installed) -> ClusterController:
    """Return the cluster's controller, with registries given by hand."""
    tools = ControllerTools(
        access=cluster.access("job-sa"),
        lookup=ByHand(),
        check_settings=check_agent_settings,
        host="127.0.0.1",
        port=0,
        health_port=0,
    )
    return ClusterController(cluster.installation, tools)


async def identity_of(cluster: Installed, name: str, host: str) -> Path:
    """Have the controller sign for a node, which is then gone; see `prepare`."""
    controller = controller_of(cluster)
    async with controller.running():
        return await asyncio.to_thread(
            prepare, cluster, name, host, controller_port=controller.port
        )


def write_settings(node: Node, settings: dict[str, Any]) -> None:
    """Have the agent of a node read these when it starts."""
    node.config.write_text(yaml.safe_dump(settings))


def mounted(cluster: Installed, name: str, host: str, identity: Path) -> dict[str, Any]:
    """Return the agents' settings as they are, with what pods are given by variables and mounts."""
    data = cluster.get(AGENT_MAP)["data"]
    settings: dict[str, Any] = yaml.safe_load(data["agent.yaml"])
    folder = cluster.folder / f"etc-{name}"
    folder.mkdir(exist_ok=True)
    for file in ("nodes.yaml", "revoked.crl"):
        (folder / file).write_text(data[file])
    for section in ("front", "peer", "exporter"):
        settings[section]["hosts"] = [host]  # all of it is on one machine
    settings["front"]["allow_remote"] = True
    settings["peer"]["address"] = host
    settings["peer"]["tls"] = {
        "certificate": str(identity / "tls.crt"),
        "key": str(identity / "tls.key"),
        "ca": str(cluster.folder / "ca.crt"),
        "revoked": str(folder / "revoked.crl"),
    }
    settings["store"] |= {"path": str(cluster.folder / f"store-{name}"), "reserve_bytes": 0}
    settings["membership"]["node"] = name
    settings["membership"]["sites_file"] = str(folder / "nodes.yaml")
    settings["membership"]["kubernetes"] |= {
        "server": cluster.server.url,
        "account_dir": str(cluster.access("sa").account_dir),
    }
    settings["supervisor"] = {"heartbeat_timeout_s": 20.0}
    settings["drain_timeout_s"] = 2.0
    return settings
