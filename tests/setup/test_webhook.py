"""The webhook as the chart configures it: which pods it meets, by the rights that it has."""

import base64
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from chart.rendering import NAME, NAMESPACE, Helm
from setup.installed import Installed, installed, set_up
from setup.nodes import AGENT_MAP
from shoal.adapters.kube.api import KubeConnection, connected
from shoal.setup.cluster.permissions import needed
from shoal.setup.cluster.webhook import Webhook, WebhookTools

VALUES = {
    "registries": [{"name": "registry.example.com"}],
    "webhook": {"enable": True, "timeoutSeconds": 30},
    "edgeNodePool": {"allNodes": True},
}
NEW = "registry.distributed.example.com:65001"
MODE = {"k8s.aliyun.com/image-accelerate-mode": "p2p"}


@pytest.fixture
async def cluster(tmp_path: Path, helm: Helm) -> AsyncIterator[Installed]:
    """A cluster with the chart, its Job done, and its webhook."""
    async with installed(helm, tmp_path, VALUES) as running:
        running.server.put("/api/v1/nodes/a", {})
        running.server.tokens = {"admin"}
        await set_up(running)
        folder = tmp_path / "mounted"
        folder.mkdir()
        secret = running.get(f"/api/v1/namespaces/{NAMESPACE}/secrets/{NAME}-webhook-tls")
        for key, value in secret["data"].items():
            (folder / key).write_bytes(base64.b64decode(value))
        (folder / "agent.yaml").write_text(running.get(AGENT_MAP)["data"]["agent.yaml"])
        for namespace, labels in (
            ("apps", {}),
            ("fast", MODE),
            ("kube-system", MODE),
            (NAMESPACE, MODE),
        ):
            named = {"kubernetes.io/metadata.name": namespace, **labels}
            running.server.put(f"/api/v1/namespaces/{namespace}", {"metadata": {"labels": named}})
        tools = WebhookTools(
            access=running.access("webhook-sa"),
            settings=folder / "agent.yaml",
            tls_dir=folder,
            host="127.0.0.1",
            port=0,
            health_port=0,
        )
        webhook = Webhook(tools)
        async with webhook.running():
            running.server.services[(NAMESPACE, f"{NAME}-webhook")] = ("127.0.0.1", webhook.port)
            yield running


@pytest.fixture
async def kube(cluster: Installed, tmp_path: Path) -> AsyncIterator[KubeConnection]:
    """A connection of somebody who may do all."""
    admin = tmp_path / "admin"
    admin.mkdir()
    (admin / "token").write_text("admin")
    (admin / "ca.crt").write_bytes((tmp_path / "sa" / "ca.crt").read_bytes())
    access = cluster.access("admin")
    async with connected(access) as connection:
        yield connection


def pod(name: str, **spec: Any) -> dict[str, Any]:
    return {
        "kind": "Pod",
        "metadata": {"name": name, "labels": {}},
        "spec": {"containers": [{"name": "c", "image": "registry.example.com/a:1"}], **spec},
    }


async def image(kube: KubeConnection, namespace: str, thing: dict[str, Any]) -> str:
    made = await kube.create(f"/api/v1/namespaces/{namespace}/pods", thing)
    return str(made["spec"]["containers"][0]["image"])


async def test_pods_and_namespaces_opt_in_by_label_and_the_system_s_never(
    kube: KubeConnection,
) -> None:
    labelled = pod("labelled")
    labelled["metadata"]["labels"] = dict(MODE)
    other = pod("other")
    other["metadata"]["labels"] = {"k8s.aliyun.com/image-accelerate-mode": "on-demand"}
    assert await image(kube, "apps", labelled) == f"{NEW}/a:1"
    assert await image(kube, "apps", pod("plain")) == "registry.example.com/a:1"
    assert await image(kube, "fast", pod("plain")) == f"{NEW}/a:1"
    assert await image(kube, "fast", other) == "registry.example.com/a:1"
    for namespace in ("kube-system", NAMESPACE):
        assert await image(kube, namespace, labelled) == "registry.example.com/a:1"


async def test_a_pull_secret_is_copied_with_the_webhook_s_rights_and_goes_with_it(
    cluster: Installed, kube: KubeConnection
) -> None:
    entry = {"auth": base64.b64encode(b"user:sentinel").decode()}
    content = json.dumps({"auths": {"registry.example.com": entry}}).encode()
    secrets = "/api/v1/namespaces/fast/secrets"
    secret = {"data": {".dockerconfigjson": base64.b64encode(content).decode()}}
    cluster.server.put(f"{secrets}/mine", secret)
    assert (
        await image(kube, "fast", pod("one", imagePullSecrets=[{"name": "mine"}])) == f"{NEW}/a:1"
    )
    copy = cluster.get(f"{secrets}/acr-credential-mine-p2p")
    held = json.loads(base64.b64decode(copy["data"][".dockerconfigjson"]))
    assert held == {"auths": {NEW: entry}}
    hooks = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations"
    await kube.delete(f"{hooks}/{NAME}")
    assert await kube.find(f"{secrets}/acr-credential-mine-p2p") is None


async def test_every_right_of_the_set_up_s_account_is_asked_for_before_it_is_used(
    cluster: Installed,
) -> None:
    """The chart's roles, and what the Job says that it needs, are one list."""
    granted = _granted(cluster)
    wanted = {
        (permission.group, permission.resource, permission.verb)
        for permission in needed(cluster.installation)
    }
    pools = {"alibabacloud.com", "nodepool.alibabacloud.com"}  # by other names of the same kind
    assert {right for right in granted if right[0] not in pools} == wanted


def _granted(cluster: Installed) -> set[tuple[str, str, str]]:
    return {
        (group, resource, verb)
        for manifest in cluster.manifests
        if manifest["kind"] in ("Role", "ClusterRole")
        and manifest["metadata"]["name"] == f"{NAME}-job-sa"
        for rule in manifest["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }
