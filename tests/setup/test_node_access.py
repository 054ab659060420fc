"""`nodeAccess.secret`, from the chart's value to a pull by the nodes' own credential."""

import base64
import json
import os
import tomllib
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import aiohttp
import pytest

from agent.conftest import Registry
from agent.sites import PORTS, Node, addresses
from chart.rendering import Helm
from setup.installed import installed, set_up
from setup.nodes import identity_of, mounted, put_endpoints, put_nodes, values_for, write_settings
from shoal.agent.front.node_header import FILE_NAME, NODE_HEADER
from shoal.setup.node.containerd import ContainerdNode
from shoal.setup.node.told import read_agent
from shoal.testing.registry import EmbeddedRegistry
from shoal.testing.registry_auth import Account, AuthMode, RegistryAuth

LOGIN = ("node", "secret-of-the-nodes")


@pytest.fixture
def private() -> Iterator[Registry]:
    """A registry with an image that only the nodes' own account may read."""
    account = Account(LOGIN[1], repositories=("team/app",))
    auth = RegistryAuth(mode=AuthMode.BASIC, accounts={LOGIN[0]: account}, public=())
    serving = Registry(EmbeddedRegistry(auth=auth))
    serving.inner.content.add_image("team/app", "v1", [b"layer"])
    serving.start()
    try:
        yield serving
    finally:
        serving.stop()


async def test_a_runtime_that_sends_no_pull_secret_has_the_nodes_own_access_and_nobody_else(
    tmp_path: Path, helm: Helm, private: Registry
) -> None:
    (host,) = addresses(1)
    values = values_for(private) | {"nodeAccess": {"secret": "shoal-pull"}}
    async with AsyncExitStack() as stack:
        cluster = await stack.enter_async_context(installed(helm, tmp_path, values))
        put_nodes(cluster, {"a": host}, {"a": "near"})
        await set_up(cluster)
        identity = await identity_of(cluster, "a", host)
        put_endpoints(cluster, {"a": host}, port=PORTS["peer"])
        settings = mounted(cluster, "a", host, identity)
        settings["registries"][0]["credentials_file"] = str(_mounted_secret(tmp_path, private))
        node = Node(host, tmp_path, private, [])
        write_settings(node, settings)
        node.start()
        stack.callback(node.stop)
        session = await stack.enter_async_context(
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=120))
        )
        await node.ready(session, peers=0)

        # What the installer does beside it.
        header = (NODE_HEADER, tmp_path / "store-a" / FILE_NAME)
        told = read_agent(node.config, node_header=header)
        runtime = tmp_path / "containerd"
        runtime.mkdir()
        front = f"http://{host}:{PORTS['front']}"
        ContainerdNode(runtime).apply(told.names, front_url=front, release=(1, 7))
        (file,) = runtime.rglob("hosts.toml")
        assert file.stat().st_mode & 0o077 == 0
        sent = tomllib.loads(file.read_text())["host"][front]["header"]

        asked = f"{front}/v2/team/app/manifests/v1?ns={private.address}"
        for headers, status in (({}, 401), (sent, 200), ({NODE_HEADER: "guessed"}, 401)):
            async with session.get(asked, headers=headers) as answer:
                assert answer.status == status
        assert LOGIN[1] not in node.log
        assert sent[NODE_HEADER] not in node.log


def _mounted_secret(folder: Path, registry: Registry) -> Path:
    """Return a Secret's file as the kubelet mounts it, for the group of the pod's fsGroup."""
    auth = base64.b64encode(":".join(LOGIN).encode()).decode()
    file = folder / "config.json"
    file.write_text(json.dumps({"auths": {registry.address: {"auth": auth}}}))
    file.chmod(0o440 if os.geteuid() == 0 else 0o400)
    return file
