"""The documentation's page from its first step to its last: console, set-up, containerd, the end.

The console and its metadata service, the set-up Job's pod, the controller, the agents, containerd
and the registry are the real ones; the API server is the stand-in, and its kubelets are the test.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest
import yaml

from bed.page_steps import WAYS, Way, steps_of
from bed.watching import layer_bytes_by, until
from chart.rendering import NAME, NAMESPACE, Helm, farewell, pod_specs
from setup.installed import Installed, installed
from setup.nodes import AGENT_MAP, prepare, put_endpoints, put_nodes
from setup.pods import run_pod
from shoal import __version__
from shoal.adapters.cloud.lookup import AcrLookup
from shoal.adapters.kube.api import connected
from shoal.cli.main import main
from shoal.cli.setup_cluster import check_agent_settings
from shoal.control import passwords
from shoal.control.store.database import Database
from shoal.control.store.migrate import migrate
from shoal.control.store.vault import KEY_BYTES, Vault
from shoal.core.console.switch import SwitchRefused
from shoal.setup.cluster.cloud_lookup import CloudLookup
from shoal.setup.cluster.controller import Controller, ControllerTools, Times
from shoal.setup.farewell.job import Uninstall
from shoal.setup.farewell.node import NodeFarewell
from shoal.setup.names import component
from shoal.setup.node.containerd import ContainerdNode
from shoal.setup.node.told import read_agent
from shoal.testing.bed.agents import PEER_PORT
from shoal.testing.bed.bed import Bed
from shoal.testing.bed.cri import Auth, PullFailed
from shoal.testing.bed.fresh import FreshImages
from shoal.testing.bed.node import Node
from shoal.testing.bed.processes import listen_in
from shoal.testing.bed.registry import PASSWORD, USER
from shoal.testing.bed.traffic import Door
from shoal.testing.chart_tools import chart_tools
from shoal.testing.kube.kubelets import Kubelets
from unit.adapters.cloud.page import DOMAIN, REMOTE_DOMAIN, Page, serve_page

LOGIN = Auth(username=USER, password=PASSWORD)
NODES = 2
TIMEOUT_S = 90.0


@pytest.fixture(scope="module")
def helm(tmp_path_factory: pytest.TempPathFactory) -> Helm:
    """The real helm, with a home of its own."""
    return Helm(chart_tools().helm, home=tmp_path_factory.mktemp("helm"))


@pytest.fixture
async def page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Page]:
    """Return a console where all steps were done, and what the pods have mounted."""
    monkeypatch.setattr(passwords, "LOG2_N", 4)
    database = Database(f"sqlite:///{tmp_path}/console.db")
    migrate(database)
    folder = tmp_path / "secrets"
    folder.mkdir()
    async with serve_page(database, Vault(bytes(KEY_BYTES)), folder) as made:
        yield made
    database.close()


@pytest.fixture
def nodes(bed: Bed) -> Iterator[list[Node]]:
    """The cluster's nodes; containerd knows nothing of the instance's domain afterwards."""
    chosen = bed.nodes[:NODES]
    yield chosen
    for node in chosen:
        ContainerdNode(node.folder).remove()


def values_of(way: Way, page: Page, bed: Bed) -> dict[str, Any]:
    """Return values.yaml as the console hands it out; and where the domain is on the bed."""
    registry = {"name": way.domain, "url": bed.registry.url(Door.BASIC), "plain_http": True}
    endpoint = f"http://{page.cloud.endpoint}"
    cloud = {"endpoint": endpoint, "clusterId": "c1", "metadata": page.metadata}
    return {**way.values(page), "cloud": cloud, "registries": [registry]}


async def follow_the_doctor(
    cluster: Installed, way: Way, page: Page, values: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Forget every step, and do each one when it is named; the Job says the last one, too."""
    steps = steps_of(way, page)
    for step in steps:
        await page.change(step.forget)
    words = ["doctor", "--values", str(values), "--token-file", str(page.folder / "token")]
    words += ["--endpoint", f"http://{page.cloud.endpoint}", "--metadata", page.metadata]
    for step in steps:
        assert await asyncio.to_thread(main, words) == 1
        assert step.said in capsys.readouterr().out
        if step is steps[-1]:
            refused = await set_up(cluster, page)
            assert refused.returncode == 1
            assert step.said in refused.stderr.splitlines()[-1]
        await page.change(step.do)
    assert await asyncio.to_thread(main, words) == 0
    assert capsys.readouterr().out.endswith("nothing is missing\n")


async def set_up(cluster: Installed, page: Page) -> CompletedProcess[str]:
    """Run a pod of the set-up Job."""
    spec = pod_specs(cluster.manifests)[f"Job {NAME}-setup-1"]
    volumes = {
        "setup": cluster.folder / "config",
        "api": cluster.access("job-sa").account_dir,
        "access-key": page.folder,
        "rrsa": page.folder,
    }
    return await asyncio.to_thread(run_pod, cluster, spec, volumes)


@asynccontextmanager
async def controller_of(cluster: Installed, way: Way, page: Page) -> AsyncIterator[Controller]:
    """Run the controller, which says at an uninstall's end that the component is gone."""
    told = {"ClusterId": "c1", "ComponentVersion": __version__, "Method": way.method.value}
    tools = ControllerTools(
        access=cluster.access("job-sa"),
        lookup=CloudLookup(AcrLookup(way.settings(page)), [way.instance], component=told),
        check_settings=check_agent_settings,
        host="127.0.0.1",
        port=0,
        health_port=0,
        times=Times(look_s=1.0),
    )
    controller = Controller(cluster.installation, tools)
    async with controller.running():
        looked = partial(
            controller.metrics.registry.get_sample_value,
            "shoal_controller_looks_total",
            {"outcome": "unchanged"},
        )
        assert await asyncio.to_thread(until, lambda: bool(looked()), timeout_s=TIMEOUT_S)
        yield controller


def start_agents(
    cluster: Installed, nodes: list[Node], way: Way, identities: dict[str, Path], server: str
) -> None:
    """Start agents on what the Job wrote, mounted, and have containerd ask them by it."""
    data = cluster.get(AGENT_MAP)["data"]
    for node in nodes:
        settings: dict[str, Any] = yaml.safe_load(data["agent.yaml"])
        assert way.domain in [registry["name"] for registry in settings["registries"]]
        mounted = cluster.folder / f"etc-{node.name}"
        mounted.mkdir()
        (mounted / "nodes.yaml").write_text(data["nodes.yaml"])
        settings["peer"]["address"] = node.host.ipv4
        settings["peer"]["tls"] = {
            "certificate": str(identities[node.name] / "tls.crt"),
            "key": str(identities[node.name] / "tls.key"),
            "ca": str(cluster.folder / "ca.crt"),
        }
        settings["store"] |= {"path": str(store_of(node)), "reserve_bytes": 0}
        settings["membership"] |= {"node": node.name, "sites_file": str(mounted / "nodes.yaml")}
        account = str(cluster.access("sa").account_dir)
        settings["membership"]["kubernetes"] |= {"server": server, "account_dir": account}
        node.start_agent(settings, wait=False)
    for node in nodes:
        node.agent.wait_ready()
        told = read_agent(node.agent.config)
        runtime = ContainerdNode(node.folder)
        found = runtime.apply(told.names, front_url=told.front_url, release=(1, 6))
        assert all(finding.ok for finding in found), found
    assert until(lambda: [connections_of(node) for node in nodes] == [NODES - 1] * NODES)


def connections_of(node: Node) -> int:
    """Return how many peers a node's agent has a connection to."""
    return int(node.agent.metrics().get("shoal_peers_connected", 0))


def members_of(node: Node) -> int:
    """Return how many nodes a node's agent shares with, itself included."""
    return int(node.agent.metrics()["shoal_members"])


def store_of(node: Node) -> Path:
    """Return the folder of a node's agent's store."""
    return node.folder / "agent" / "store"


async def pull_everywhere(
    bed: Bed, nodes: list[Node], domain: str, fresh_image: FreshImages
) -> None:
    """Pull a private image on every node: the registry sends it once, and to no containerd."""
    pushed = fresh_image()
    reference = f"{domain}/{pushed.repository}:{pushed.tag}"
    with pytest.raises(PullFailed, match=r"401|403|denied|authoriz|unauthorized"):
        await asyncio.to_thread(nodes[0].cri.pull, reference, timeout_s=60)
    await asyncio.gather(
        *(asyncio.to_thread(node.cri.pull, reference, auth=LOGIN) for node in nodes)
    )
    assert layer_bytes_by(bed.registry, pushed).keys() == {"shoal"}
    assert pushed.copies < 1.2


async def pull_apart(bed: Bed, nodes: list[Node], domain: str, fresh_image: FreshImages) -> None:
    """Pull while the switch is off: each node for itself, and every pull works."""
    alone = partial(until, lambda: [members_of(node) for node in nodes] == [1] * NODES)
    assert await asyncio.to_thread(alone, timeout_s=TIMEOUT_S)
    pushed = fresh_image()
    reference = f"{domain}/{pushed.repository}:{pushed.tag}"
    for node in nodes:
        await asyncio.to_thread(node.cri.pull, reference, auth=LOGIN)
    assert pushed.copies > NODES - 0.2


async def uninstall(cluster: Installed, nodes: list[Node]) -> None:
    """Do what `helm uninstall` does: its hook, and then the controller ends."""
    by_name = {node.name: node for node in nodes}
    access = cluster.access("farewell")

    async def say_farewell(node: Node) -> None:
        await asyncio.to_thread(node.agent.stop)
        async with connected(access) as kube:
            await NodeFarewell(
                kube=kube,
                namespace=NAMESPACE,
                node=node.name,
                runtime=ContainerdNode(node.folder),
                store=store_of(node),
                settle_s=0.01,
                poll_s=0.01,
            ).run()

    async with asyncio.TaskGroup() as group:

        async def started(name: str, pod: dict[str, Any]) -> None:
            if pod["metadata"]["labels"] == component("farewell"):
                group.create_task(say_farewell(by_name[name]))

        kubelets = Kubelets(cluster.server, started=started)
        for name in by_name:
            kubelets.put_node(name)

        async def step_for_ever() -> None:
            while True:
                await kubelets.step()
                await asyncio.sleep(0.01)

        stepping = group.create_task(step_for_ever())
        async with connected(cluster.access("uninstall-sa")) as kube:
            left = await Uninstall(
                kube=kube,
                namespace=NAMESPACE,
                manifests=farewell(cluster.manifests),
                wait_s=TIMEOUT_S,
                poll_s=0.01,
            ).run()
        stepping.cancel()
    assert left == []
    for node in nodes:
        assert not any((node.certs_d / domain).exists() for domain in (DOMAIN, REMOTE_DOMAIN))
        assert not store_of(node).exists()


@pytest.mark.parametrize("name", list(WAYS))
async def test_the_whole_story_of_the_page(
    name: str,
    bed: Bed,
    nodes: list[Node],
    page: Page,
    helm: Helm,
    fresh_image: FreshImages,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    way = WAYS[name]
    way.settings(page)  # writes what its pods have mounted
    values = values_of(way, page, bed)
    (tmp_path / "values.yaml").write_text(yaml.safe_dump(values))

    folder, host = tmp_path / "cluster", bed.registry.host
    folder.mkdir()
    async with installed(helm, folder, values, hosts=[host.ipv4]) as cluster:
        listener = listen_in(host.namespace, host.ipv4)
        await cluster.server.listen_also(listener)
        hosts = {node.name: node.host.ipv4 for node in nodes}
        put_nodes(cluster, hosts, dict.fromkeys(hosts, "near"))
        put_endpoints(cluster, hosts, port=PEER_PORT)

        await follow_the_doctor(cluster, way, page, tmp_path / "values.yaml", capsys)
        done = await set_up(cluster, page)
        assert done.returncode == 0, done.stderr
        assert f"registries: {way.domain}, VPC endpoint of {way.instance}\n" in done.stdout
        async with controller_of(cluster, way, page) as controller:
            identities = {
                node: await asyncio.to_thread(
                    prepare, cluster, node, address, controller_port=controller.port
                )
                for node, address in hosts.items()
            }
            server = f"https://{host.ipv4}:{listener.getsockname()[1]}"
            await asyncio.to_thread(start_agents, cluster, nodes, way, identities, server)
            await pull_everywhere(bed, nodes, way.domain, fresh_image)

            with pytest.raises(SwitchRefused, match=r"still installed in edge \(c1\)"):
                await page.change(way.switch(enable=False))
            await page.change(way.switch(enable=False, forced=True))
            await pull_apart(bed, nodes, way.domain, fresh_image)
            await page.change(way.switch(enable=True))
            await uninstall(cluster, nodes)
        await page.change(way.switch(enable=False))
