"""A node joins a site of several: the rest know it, of which site it is too, without a kubelet."""

import asyncio
import time
from contextlib import AsyncExitStack
from pathlib import Path

import yaml

from chart.rendering import NAME, NAMESPACE, Helm
from setup.installed import Installed, installed, set_up
from setup.nodes import AGENT_MAP, controller_of, put_endpoints, put_nodes
from shoal.adapters.discovery.kubernetes import KubernetesDiscovery
from shoal.adapters.discovery.node_sites import NodeSites
from shoal.core.peer import PeerId
from unit.agent.driving import until

VALUES = {"registries": [{"name": "registry.example.com"}]}


class Agent:
    """What an agent's process knows of its site, with the rights and files of its pod."""

    def __init__(self, cluster: Installed, name: str) -> None:
        told = yaml.safe_load(cluster.get(AGENT_MAP)["data"]["agent.yaml"])["membership"]
        mounted = cluster.folder / f"mounted-{name}"
        mounted.mkdir()
        file = mounted / Path(told["sites_file"]).name
        file.write_text(cluster.get(AGENT_MAP)["data"][file.name])  # and the kubelet never again
        self.members: frozenset[PeerId] | None = None
        self.task = asyncio.ensure_future(
            KubernetesDiscovery(
                cluster.access("sa"),
                port=65002,
                sites=NodeSites(file, node=name),
                **told["kubernetes"],
            ).watch(self._told)
        )

    def _told(self, members: frozenset[PeerId]) -> None:
        self.members = members

    def knows(self, *hosts: str) -> bool:
        """Whether these, and no others, are members."""
        return self.members == frozenset(PeerId(f"{host}:65002") for host in hosts)


async def test_a_node_of_one_pool_of_several_is_known_within_three_seconds_of_its_endpoint(
    tmp_path: Path, helm: Helm
) -> None:
    hosts = {name: f"10.0.0.{number}" for number, name in enumerate("abcd", start=1)}
    pools = {"a": "near", "b": "near", "c": "far", "d": "near"}
    async with AsyncExitStack() as stack:
        cluster = await stack.enter_async_context(installed(helm, tmp_path, VALUES))
        before = {name: host for name, host in hosts.items() if name != "d"}
        put_nodes(cluster, before, pools)
        await set_up(cluster)
        put_endpoints(cluster, before, port=65002)
        await stack.enter_async_context(controller_of(cluster).running())
        agents = {name: Agent(cluster, name) for name in before}
        for agent in agents.values():
            stack.callback(agent.task.cancel)
        await until(lambda: agents["a"].knows(hosts["a"], hosts["b"]))
        await until(lambda: agents["c"].knows(hosts["c"]))

        # The node and its endpoint at once: usually its pod takes longer than the controller.
        began_s = time.monotonic()
        put_nodes(cluster, hosts, pools)
        put_endpoints(cluster, hosts, port=65002)
        near = (hosts["a"], hosts["b"], hosts["d"])
        await until(lambda: all(agents[name].knows(*near) for name in "ab"))
        took_s = time.monotonic() - began_s
        # 3 s is what is asked, and 1.1 usual. The rest is for a machine that does much else.
        assert took_s < 15
        assert agents["c"].knows(hosts["c"])

        # A node that has left is gone whatever the ConfigMap says.
        put_endpoints(cluster, before, port=65002)
        await until(lambda: agents["a"].knows(hosts["a"], hosts["b"]))
        # And a node that changes its pool is of the other site.
        put_nodes(cluster, hosts, pools | {"b": "far"})
        await until(lambda: agents["a"].knows(hosts["a"]))


async def test_an_agent_may_read_the_one_config_map_that_it_has_mounted_and_no_other(
    tmp_path: Path, helm: Helm
) -> None:
    async with installed(helm, tmp_path, VALUES) as cluster:
        role = cluster.get(
            f"/apis/rbac.authorization.k8s.io/v1/namespaces/{NAMESPACE}/roles/{NAME}-sa"
        )
        rules = [rule for rule in role["rules"] if "configmaps" in rule["resources"]]
        assert [(rule["resourceNames"], rule["verbs"]) for rule in rules] == [
            ([f"{NAME}-agent"], ["list", "watch"])
        ]
