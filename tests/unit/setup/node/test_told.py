"""What a node's containers are told, and what of it is refused."""

from pathlib import Path

import pytest
import yaml

from shoal.adapters.runtime.registry_name import RegistryName
from shoal.core.errors import SettingsError
from shoal.setup.node.told import (
    AgentTold,
    RuntimePlace,
    RuntimeType,
    ServedName,
    read_agent,
    runtime_place,
    variable,
)

PLACE = {"SHOAL_SETUP_RUNTIME": "k3s", "SHOAL_SETUP_RUNTIME_DIR": "/k3s"}


def _read(tmp_path: Path, settings: object) -> AgentTold:
    path = tmp_path / "agent.yaml"
    path.write_text(yaml.safe_dump(settings))
    return read_agent(path)


def test_ports_are_the_settings_or_the_defaults_and_none_of_what_is_off(tmp_path: Path) -> None:
    told = _read(tmp_path, {"front": {"port": 7001}, "exporter": {"enabled": False}})
    assert told.front_url == "http://127.0.0.1:7001"
    assert told.ports == (("p2p.port", 7001), ("p2p.v2.p2pPort", 65002))


def test_every_name_of_a_registry_is_served(tmp_path: Path) -> None:
    told = _read(
        tmp_path,
        {"registries": [{"name": "r.example.com:5000", "aliases": ["r.example.com"]}]},
    )
    assert [served.name.text for served in told.names] == ["r.example.com:5000", "r.example.com"]
    assert {served.path for served in told.names} == {"r.example.com"}
    assert told.names[0].registry == "r.example.com:5000"


@pytest.mark.parametrize("port", ["", ":65001"])
def test_a_rewritten_name_falls_back_to_the_registry_itself(tmp_path: Path, port: str) -> None:
    real = "a-registry-vpc.cn-hangzhou.cr.aliyuncs.com"
    rewritten = f"a-registry-vpc.distributed.cn-hangzhou.cr.aliyuncs.com{port}"
    told = _read(tmp_path, {"registries": [{"name": real, "aliases": [rewritten]}]})
    assert told.names[1] == ServedName(
        RegistryName("a-registry-vpc.distributed.cn-hangzhou.cr.aliyuncs.com:65001"),
        server=f"https://{real}",
        path=real,
    )
    assert told.names[1].registry == real


def test_a_registry_with_a_port_has_a_path_only_by_an_alias_or_as_the_default(
    tmp_path: Path,
) -> None:
    told = _read(
        tmp_path, {"registries": [{"name": "a:5000"}, {"name": "b:5000", "default": True}]}
    )
    assert [served.path for served in told.names] == [None, ""]


def test_a_plain_http_registry_says_so(tmp_path: Path) -> None:
    told = _read(
        tmp_path,
        {"registries": [{"name": "a.b:80", "plain_http": True, "aliases": ["a.distributed.b:1"]}]},
    )
    assert [served.plain_http for served in told.names] == [True, True]
    assert told.names[1].server == "http://a.b:80"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ([], "no mapping"),
        ({"front": {"port": "x"}}, "front.port"),
        ({"registries": 3}, "no list"),
        ({"registries": [3]}, "registries in"),
        ({"registries": [{}]}, "registries in"),
        ({"registries": [{"name": "../x"}]}, "not a registry"),
        ({"registries": [{"name": "a", "aliases": "b"}]}, "no list"),
    ],
)
def test_settings_that_are_none_are_named(tmp_path: Path, settings: object, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        _read(tmp_path, settings)


def test_a_file_that_is_missing_broken_or_endless_is_named(tmp_path: Path) -> None:
    path = tmp_path / "agent.yaml"
    for content, message in ((None, "cannot read"), ("a: [", "not YAML"), ("#" * 2**21, "longer")):
        if content is not None:
            path.write_text(content)
        with pytest.raises(SettingsError, match=message):
            read_agent(path)


def test_the_place_of_the_runtime_comes_from_the_chart() -> None:
    assert runtime_place(PLACE) == RuntimePlace(RuntimeType.K3S, Path("/k3s"))
    assert runtime_place({**PLACE, "SHOAL_SETUP_RUNTIME_RESTART": "true"}).may_restart


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"SHOAL_SETUP_RUNTIME": "docker"}, "containerd, k3s, crio"),
        ({"SHOAL_SETUP_RUNTIME_DIR": "etc"}, "no absolute path"),
        ({"SHOAL_SETUP_RUNTIME_DIR": ""}, "is not set"),
    ],
)
def test_a_place_that_is_none_is_refused(changed: dict[str, str], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        runtime_place({**PLACE, **changed})


def test_a_variable_that_is_missing_is_named() -> None:
    with pytest.raises(SettingsError, match="SHOAL_SETUP_NODE is not set"):
        variable("NODE", {})


def test_the_runtime_shows_itself_where_registries_are_asked_by_the_nodes_own_access(
    tmp_path: Path,
) -> None:
    settings, value = tmp_path / "agent.yaml", tmp_path / "node.header"
    settings.write_text("registries: [{name: a.example.com, access: node}, {name: b.example.com}]")
    told = read_agent(settings, node_header=("X-Shoal-Node", value))
    assert [one.headers for one in told.names] == [(), ()]  # the agent has not written it yet
    value.write_text("secret\n")
    told = read_agent(settings, node_header=("X-Shoal-Node", value))
    assert [one.headers for one in told.names] == [(("X-Shoal-Node", "secret"),), ()]
    value.write_bytes(b"\xff")
    with pytest.raises(SettingsError, match=r"node\.header, which the agent has written"):
        read_agent(settings, node_header=("X-Shoal-Node", value))
