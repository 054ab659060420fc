"""The agents' ConfigMap, as text."""

from dataclasses import replace

import pytest
import yaml

from shoal.adapters.certificates.authority import Authority
from shoal.adapters.certificates.revocation import read_lists
from shoal.core.errors import SettingsError
from shoal.setup.cluster.agent_settings import agent_data, config_map, path_of
from shoal.setup.cluster.lookup import Registries
from shoal.setup.cluster.pools import Sites
from unit.setup.cluster.world import AGENT_MAP, NAME, PLAIN

CLUSTER = Authority.make("c")


def test_the_same_facts_are_the_same_text() -> None:
    one = agent_data(PLAIN, Registries(), Sites({"b": "x", "a": "x"}), authority=CLUSTER)
    other = agent_data(PLAIN, Registries(), Sites({"a": "x", "b": "x"}), authority=CLUSTER)
    assert one == other
    assert one["nodes.yaml"] == "a: x\nb: x\n"


def test_what_the_chart_says_of_peers_stays_beside_their_certificates() -> None:
    installation = replace(PLAIN, agent={**PLAIN.agent, "peer": {"port": 7}})
    data = agent_data(installation, Registries(), Sites({}), authority=CLUSTER)
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
    data = agent_data(installation, Registries(), Sites({}), authority=CLUSTER)
    assert yaml.safe_load(data["agent.yaml"])["registries"] == [
        {"name": "a.b", "aliases": ["a.distributed.b:65001"]},
        {"name": "localhost:5000"},
        {"name": "x.y", "aliases": ["c.d", "x.distributed.y:65001", "c.distributed.d:65001"]},
    ]


def test_more_than_a_config_map_takes_is_refused() -> None:
    nodes = {f"node-{number:060}": "x" * 60 for number in range(10_000)}
    with pytest.raises(SettingsError, match=r"edgeNodePool\.id"):
        agent_data(PLAIN, Registries(), Sites(nodes), authority=CLUSTER)


def test_ten_thousand_nodes_fit() -> None:
    nodes = {
        f"cn-hangzhou.192.168.{n // 250}.{n % 250}": "np8b6aaa89e93a44b5b5" for n in range(10_000)
    }
    assert agent_data(PLAIN, Registries(), Sites(nodes), authority=CLUSTER)


def test_it_is_where_the_pods_look() -> None:
    assert path_of(PLAIN) == AGENT_MAP
    assert config_map(PLAIN, {"a": "b"})["metadata"]["name"] == f"{NAME}-agent"


def test_revoked_certificates_are_a_list_that_the_cluster_has_signed_and_always_the_same() -> None:
    revoking = replace(PLAIN, revoked=(10, 31))
    one = agent_data(revoking, Registries(), Sites({}), authority=CLUSTER)
    assert one == agent_data(revoking, Registries(), Sites({}), authority=CLUSTER)
    none = agent_data(PLAIN, Registries(), Sites({}), authority=CLUSTER)
    for data, serials in ((one, {10, 31}), (none, set())):
        (held,) = read_lists(data["revoked.crl"].encode(), [CLUSTER.certificate], name="it")
        assert set(held.revoked) == serials
    tls = yaml.safe_load(one["agent.yaml"])["peer"]["tls"]
    assert tls["revoked"] == "/etc/shoal/agent/revoked.crl"
    # Another list alone is what changes: agents read it without a restart.
    assert {key for key in one if one[key] != none[key]} == {"revoked.crl"}


def test_nodes_own_access_is_for_all_registries_but_those_that_say_otherwise() -> None:
    by_hand = [
        {"name": "a.example.com"},
        {"name": "b.example.com", "access": "client"},
        {"name": "c.example.com", "access": "node", "realm_hosts": ["auth.c.example.com"]},
    ]
    installation = replace(
        PLAIN, node_access=True, realm_hosts=("auth.example.com",), agent={"registries": by_hand}
    )
    found = Registries(names=("cri-a.example.com",))
    data = agent_data(installation, found, Sites({}), authority=CLUSTER)
    file = "/etc/shoal/node-access/config.json"
    own = {"access": "node", "credentials_file": file, "realm_hosts": ["auth.example.com"]}
    assert yaml.safe_load(data["agent.yaml"])["registries"] == [
        {"name": "a.example.com", **own},
        {"name": "b.example.com", "access": "client"},
        {"name": "c.example.com", **own, "realm_hosts": ["auth.c.example.com"]},
        {"name": "cri-a.example.com", **own},
    ]
