"""The agents' ConfigMap, as text."""

from dataclasses import replace

import pytest
import yaml

from shoal.core.errors import SettingsError
from shoal.setup.cluster.agent_settings import agent_data, config_map, path_of
from shoal.setup.cluster.lookup import Registries
from shoal.setup.cluster.pools import Sites
from unit.setup.cluster.world import AGENT_MAP, NAME, PLAIN


def test_the_same_facts_are_the_same_text() -> None:
    one = agent_data(PLAIN, Registries(), Sites({"b": "x", "a": "x"}), authorities="PEM")
    other = agent_data(PLAIN, Registries(), Sites({"a": "x", "b": "x"}), authorities="PEM")
    assert one == other
    assert one["nodes.yaml"] == "a: x\nb: x\n"


def test_what_the_chart_says_of_peers_stays_beside_their_certificates() -> None:
    installation = replace(PLAIN, agent={**PLAIN.agent, "peer": {"port": 7}})
    data = agent_data(installation, Registries(), Sites({}), authorities="PEM")
    peer = yaml.safe_load(data["agent.yaml"])["peer"]
    assert peer["port"] == 7
    assert peer["tls"]["certificate"] == "/var/lib/shoal/identity/tls.crt"


def test_names_that_cannot_be_rewritten_or_are_taken_get_no_alias() -> None:
    registries = [
        {"name": "a.b"},
        {"name": "localhost:5000"},
        {"name": "x.y", "aliases": ["c.d"]},
    ]
    installation = replace(PLAIN, webhook=True, agent={"registries": registries})
    data = agent_data(installation, Registries(), Sites({}), authorities="PEM")
    assert yaml.safe_load(data["agent.yaml"])["registries"] == [
        {"name": "a.b", "aliases": ["a.distributed.b:65001"]},
        {"name": "localhost:5000"},
        {"name": "x.y", "aliases": ["c.d", "x.distributed.y:65001", "c.distributed.d:65001"]},
    ]


def test_more_than_a_config_map_takes_is_refused() -> None:
    nodes = {f"node-{number:060}": "x" * 60 for number in range(10_000)}
    with pytest.raises(SettingsError, match=r"edgeNodePool\.id"):
        agent_data(PLAIN, Registries(), Sites(nodes), authorities="PEM")


def test_ten_thousand_nodes_fit() -> None:
    nodes = {
        f"cn-hangzhou.192.168.{n // 250}.{n % 250}": "np8b6aaa89e93a44b5b5" for n in range(10_000)
    }
    assert agent_data(PLAIN, Registries(), Sites(nodes), authorities="PEM")


def test_it_is_where_the_pods_look() -> None:
    assert path_of(PLAIN) == AGENT_MAP
    assert config_map(PLAIN, {"a": "b"})["metadata"]["name"] == f"{NAME}-agent"
