"""An upgrade of the release: nothing that Kubernetes refuses, and no cache is lost."""

import asyncio
import shutil
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from agent.conftest import START_TIMEOUT_S, Registry
from agent.sites import MB, PORTS, Node, addresses, blob
from chart.rendering import EVERYTHING, METHODS, NAME, Helm, Manifest, one
from setup.installed import installed, set_up, upgraded
from setup.nodes import identity_of, mounted, put_endpoints, put_nodes, values_for, write_settings
from shoal.setup.node.prepare import give_store

# What an installation of 0.4.0 has, and every later chart must keep.
STORE = {"path": "/var/lib/shoal", "type": "DirectoryOrCreate"}
USER = 65532


@pytest.fixture(scope="module")
def before(helm: Helm, tmp_path_factory: pytest.TempPathFactory) -> Helm:
    """The chart of a version before, with another image."""
    chart = tmp_path_factory.mktemp("before") / NAME
    shutil.copytree(helm.chart, chart)
    about = chart / "Chart.yaml"
    text = about.read_text().replace("version: 0.4.0", "version: 0.3.9")
    about.write_text(text.replace('appVersion: "0.4.0"', 'appVersion: "0.3.9"'))
    assert "0.4.0" not in about.read_text()
    return replace(helm, chart=chart)


def _cache(manifests: list[Manifest]) -> Mapping[str, Any]:
    """Return where the cache is on a node and in the agent, and whose it is."""
    spec = one(manifests, "DaemonSet", NAME)["spec"]["template"]["spec"]
    (volume,) = (volume for volume in spec["volumes"] if volume["name"] == "store")
    (agent,) = (each for each in spec["containers"] if each["name"] == "agent")
    (mount,) = (mount for mount in agent["volumeMounts"] if mount["name"] == "store")
    environment = {each["name"]: each.get("value") for each in agent["env"]}
    context = agent["securityContext"]
    return {
        "node": volume["hostPath"],
        "mounted": mount["mountPath"],
        "path": environment["SHOAL_STORE__PATH"],
        "owner": (context["runAsUser"], context["runAsGroup"]),
    }


@pytest.mark.parametrize("method", METHODS)
def test_the_cache_stays_where_it_is_and_whose_it_is(before: Helm, helm: Helm, method: str) -> None:
    for options in ({}, {**EVERYTHING, "runtime": {"restart": True}}):
        values = {**METHODS[method], **options}
        old, new = before.render(values), helm.render(values, extra=["--is-upgrade"])
        assert old != new
        expected = {
            "node": STORE,
            "mounted": "/var/lib/shoal",
            "path": "/var/lib/shoal",
            "owner": (USER, USER),
        }
        assert _cache(old) == _cache(new) == expected


def test_what_kubernetes_never_changes_is_the_same(before: Helm, helm: Helm) -> None:
    """Selectors, and where roles are bound: an upgrade that changes one is refused as a whole."""
    values = {**METHODS["worker-role"], **EVERYTHING}
    for old in before.render(values):
        if "helm.sh/hook" in old["metadata"].get("annotations", {}):
            continue  # deleted and made anew
        kind, name = old["kind"], old["metadata"]["name"]
        new = one(helm.render(values), kind, name) if kind in IMMUTABLE else {}
        for key in IMMUTABLE.get(kind, ()):
            assert old.get("spec", old).get(key) == new.get("spec", new).get(key), (kind, name)


IMMUTABLE = {
    "DaemonSet": ("selector",),
    "Deployment": ("selector",),
    "RoleBinding": ("roleRef",),
    "ClusterRoleBinding": ("roleRef",),
    "Service": ("clusterIP",),
}


async def test_an_agent_that_an_upgrade_has_restarted_serves_what_was_pulled_before(
    tmp_path: Path, before: Helm, helm: Helm, registry: Registry
) -> None:
    (host,) = addresses(1)
    values = values_for(registry)
    async with AsyncExitStack() as stack:
        cluster = await stack.enter_async_context(installed(before, tmp_path, values))
        put_nodes(cluster, {"a": host}, {"a": "near"})
        await set_up(cluster)
        identity = await identity_of(cluster, "a", host)
        put_endpoints(cluster, {"a": host}, port=PORTS["peer"])
        node = Node(host, tmp_path, registry, [])
        write_settings(node, mounted(cluster, "a", host, identity))
        stack.callback(node.stop)
        timeout = aiohttp.ClientTimeout(total=120)
        session = await stack.enter_async_context(
            aiohttp.ClientSession(timeout=timeout, auto_decompress=False)
        )
        digest = blob(registry, size := 5 * MB)
        store = tmp_path / "store-a"
        node.start()
        async with asyncio.timeout(START_TIMEOUT_S):
            await node.ready(session, peers=0)
        await node.pull(session, digest)
        await node.until(lambda: any((store / "blobs").rglob(digest.hex)))
        assert registry.inner.counters.blob_body_bytes[str(digest)] == size

        cluster = upgraded(cluster, helm, values)
        said = await set_up(cluster)
        assert any("ConfigMap" in line for line in said)
        assert node.process is not None
        node.process.terminate()  # as the rolling update ends a pod
        assert await asyncio.to_thread(node.process.wait, START_TIMEOUT_S) == 0
        owner = store.stat()
        give_store(store, user=owner.st_uid, group=owner.st_gid)
        write_settings(node, mounted(cluster, "a", host, identity))
        node.start()
        async with asyncio.timeout(START_TIMEOUT_S):
            await node.ready(session, peers=0)
        await node.pull(session, digest)
        assert registry.inner.counters.blob_body_bytes[str(digest)] == size
