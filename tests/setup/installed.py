"""The chart as the real helm renders it, on a stand-in of an API server that keeps to its roles."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from chart.rendering import NAME, NAMESPACE, Helm, Manifest, one
from shoal.adapters.kube.api import KubeAccess
from shoal.cli.setup_cluster import check_agent_settings
from shoal.setup.cluster.installation import Installation, read_installation
from shoal.setup.cluster.job import JobTools, run_job
from shoal.setup.cluster.lookup import ByHand
from shoal.testing.certificates import PrivateAuthority
from shoal.testing.kube.accounts import Identity, service_account
from shoal.testing.kube.api_server import KubeApiServer
from shoal.testing.kube.objects import ResourcePath

# Kinds that are no plural of their name, and those that have no namespace.
_PLURALS = {"NetworkPolicy": "networkpolicies"}
_OF_THE_CLUSTER = {"ClusterRole", "ClusterRoleBinding", "MutatingWebhookConfiguration"}


@dataclass(frozen=True, slots=True)
class Installed:
    """A cluster in which `helm install` has been."""

    server: KubeApiServer
    folder: Path
    installation: Installation
    manifests: list[Manifest]

    def access(self, account: str) -> KubeAccess:
        """Return what a pod of an account, by the last part of its name, has."""
        return KubeAccess(self.server.url, self.folder / account)

    def get(self, path: str) -> dict[str, Any]:
        """Return an object as it is now.

        Raises:
            AssertionError: there is none.
        """
        found = self.server.objects.get(ResourcePath.parse(path))
        assert found is not None, path
        return found


@asynccontextmanager
async def installed(
    helm: Helm, folder: Path, values: Mapping[str, Any], *, hosts: Sequence[str] = ()
) -> AsyncIterator[Installed]:
    """Install the chart into a cluster of its own; nothing in it may do more than its roles say.

    Args:
        helm: what renders the chart.
        folder: for what pods have mounted.
        values: the chart's.
        hosts: what the API server is called by, beside 127.0.0.1.
    """
    authority = PrivateAuthority(folder)
    manifests = helm.render(values)
    tls = authority.server_context("127.0.0.1", *hosts)
    async with KubeApiServer(tls=tls, tokens=set()) as server:
        for manifest in manifests:
            server.put(_path(manifest), manifest)
        for account in ("sa", "job-sa", "webhook-sa", "uninstall-sa", "farewell"):
            mounted = folder / account
            mounted.mkdir()
            (mounted / "token").write_text(f"token-of-{account}")
            (mounted / "ca.crt").write_bytes(authority.ca_file.read_bytes())
            user = service_account(NAMESPACE, f"{NAME}-{account}")
            server.identities[f"token-of-{account}"] = Identity(user)
        yield Installed(server, folder, _told(folder, manifests), manifests)


def upgraded(cluster: Installed, helm: Helm, values: Mapping[str, Any]) -> Installed:
    """Do what `helm upgrade` does to the objects; return the release as it is then."""
    manifests = helm.render(values, extra=["--is-upgrade"])
    for manifest in manifests:
        cluster.server.put(_path(manifest), manifest)
    installation = _told(cluster.folder, manifests)
    return replace(cluster, installation=installation, manifests=manifests)


async def set_up(cluster: Installed) -> list[str]:
    """Run the Job; return what it said."""
    said: list[str] = []
    access = cluster.access("job-sa")
    tools = JobTools(
        access=access,
        lookup=ByHand(),
        check_settings=check_agent_settings,
        say=said.append,
        account_dir=access.account_dir,
    )
    await run_job(cluster.installation, tools)
    return said


def _told(folder: Path, manifests: Sequence[Manifest]) -> Installation:
    config = folder / "config"
    config.mkdir(exist_ok=True)
    for name, text in one(manifests, "ConfigMap", f"{NAME}-setup")["data"].items():
        (config / name).write_text(text)
    told = config / "setup.yaml"
    return read_installation(told, environment={"SHOAL_SETUP_NAMESPACE": NAMESPACE})


def _path(manifest: Manifest) -> str:
    kind, version = manifest["kind"], manifest["apiVersion"]
    plural = _PLURALS.get(kind, f"{kind.lower()}s")
    root = f"/apis/{version}" if "/" in version else f"/api/{version}"
    if kind not in _OF_THE_CLUSTER:
        root += f"/namespaces/{NAMESPACE}"
    return f"{root}/{plural}/{manifest['metadata']['name']}"
