"""What settings must not say together."""

import pytest
from pydantic import ValidationError

from shoal.agent.settings import AgentSettings
from shoal.agent.settings_rules import contradictions

SERVICE = {"namespace": "shoal", "service": "peers"}
TLS = {"certificate": "/tls.crt", "key": "/tls.key", "ca": "/ca.crt"}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"front": {"port": 65002}}, "front.port and peer.port are both 65002"),
        ({"exporter": {"port": 65002}}, "peer.port and exporter.port are both 65002"),
        ({"front": {"hosts": ["10.0.0.1"]}}, "front.allow_remote"),
        ({"membership": {"dns": "a"}}, "peer.tls.certificate, peer.tls.key, peer.tls.ca: needed"),
        ({"membership": {"static": ["a"]}, "peer": {"tls": TLS | {"ca": None}}}, "peer.tls.ca: ne"),
        ({"peer": {"tls": {"key": "/k"}}}, "peer.tls.certificate, peer.tls.ca: needed"),
        ({"peer": {"tls": TLS, "plaintext": True}}, "leave out one of them"),
        ({"peer": {"address": "0.0.0.0"}}, "no other node can reach"),
        ({"membership": {"static": ["0.0.0.0:65002"]}}, "not the address of a node"),
        ({"membership": {"static": ["node"]}, "peer": {"port": 0}}, "without a port"),
        (
            {"membership": {"kubernetes": SERVICE, "static": ["10.0.0.1"]}},
            "leave out membership.static",
        ),
        ({"membership": {"kubernetes": SERVICE, "dns": "a"}}, "leave out membership.dns"),
        ({"membership": {"kubernetes": SERVICE}}, "SHOAL_PEER__ADDRESS"),
        ({"membership": {"kubernetes": SERVICE | {"server": "http://a"}}}, "use https"),
        ({"membership": {"sites_file": "/sites", "node": "a"}}, "membership.kubernetes too"),
        ({"membership": {"kubernetes": SERVICE, "sites_file": "/s"}}, "SHOAL_MEMBERSHIP__NODE"),
        (
            {"membership": {"kubernetes": SERVICE | {"sites_config_map": "a"}}},
            "membership.sites_file to where",
        ),
        ({"registries": [{"name": "a"}, {"name": "A"}]}, "both answer to 'a'"),
        (
            {"registries": [{"name": "docker.io"}, {"name": "b", "aliases": ["index.docker.io"]}]},
            "both answer to 'index.docker.io'",
        ),
        ({"registries": [{"name": "a", "url": "http://a"}]}, "set registries[0].plain_http"),
        (
            {"registries": [{"name": "a", "url": "https://a", "plain_http": True}]},
            "write http:// in registries[0].url",
        ),
        (
            {"registries": [{"name": "a", "plain_http": True, "ca_file": "/ca.pem"}]},
            "leave out one of ca_file and plain_http",
        ),
        ({"registries": [{"name": "a", "access": "node"}]}, "without a credential of the node's"),
        ({"registries": [{"name": "a", "credentials_file": "/c"}]}, "would not be used"),
        (
            {"registries": [{"name": "a", "default": True}, {"name": "b", "default": True}]},
            "2 registries are the default (a, b)",
        ),
        (
            {"containerd": {"content_dir": "/var/lib/shoal"}},
            "the store needs a folder of its own",
        ),
        ({"store": {"path": "/c/s"}, "containerd": {"content_dir": "/c"}}, "one inside the other"),
    ],
)
def test_a_contradiction_is_refused_and_says_what_to_do(
    given: dict[str, object], message: str
) -> None:
    with pytest.raises(ValidationError) as caught:
        AgentSettings.model_validate(given)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    "given",
    [
        {"front": {"port": 0}, "peer": {"port": 0}, "exporter": {"port": 0}},
        {"exporter": {"port": 65002, "enabled": False}},
        {"peer": {"hosts": ["10.0.0.1"], "port": 65001}},
        {"front": {"hosts": ["10.0.0.1"], "allow_remote": True}},
        {"membership": {"static": ["node:1", "[::1]:2"]}, "peer": {"plaintext": True}},
        {"membership": {"static": ["node:1", "[::1]:2", "10.0.0.1"]}, "peer": {"tls": TLS}},
        {"registries": [{"name": "a:5000", "plain_http": True}, {"name": "a"}]},
    ],
)
def test_what_can_be_true_at_once_is_taken(given: dict[str, object]) -> None:
    assert contradictions(AgentSettings.model_validate(given)) == []


def test_all_contradictions_are_told_at_once() -> None:
    given = {"front": {"port": 65002}, "peer": {"tls": {"key": "/k"}}}
    with pytest.raises(ValidationError, match=r"both 65002.*peer\.tls\.ca: needed"):
        AgentSettings.model_validate(given)
