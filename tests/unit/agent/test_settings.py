"""The settings' models: defaults that work, and facts about every field."""

import pytest
from pydantic import ValidationError

from shoal.agent.settings import AgentSettings, RegistrySettings
from shoal.agent.settings_keys import all_keys, keys_of


def test_an_agent_without_any_setting_has_the_ports_of_the_design() -> None:
    settings = AgentSettings()
    ports = (settings.front.port, settings.peer.port, settings.exporter.port)
    assert ports == (65001, 65002, 65003)
    assert settings.front.hosts == ("127.0.0.1", "::1")


def test_every_field_is_documented() -> None:
    fields = {**AgentSettings.model_fields, **RegistrySettings.model_fields}
    assert all(field.description for field in fields.values())
    assert all(key.description for key in all_keys().values())


def test_every_number_says_its_unit_or_is_a_count() -> None:
    counts = {
        "port",
        "neighbours",
        "max_transfers",
        "registry_fetches",
        "peer_connections",
        "client_connections",
    }
    for key in [*all_keys().values(), *keys_of(RegistrySettings)]:
        if key.field.annotation in (int, float):
            name = key.path[-1]
            assert name.endswith(("_s", "_bytes", "_bytes_per_s")) or name in counts, key.name


def test_settings_do_not_change_after_loading() -> None:
    settings = AgentSettings()
    with pytest.raises(ValidationError):
        settings.drain_timeout_s = 3.0


@pytest.mark.parametrize(
    ("given", "url"),
    [
        ({"name": "docker.io"}, "https://registry-1.docker.io"),
        ({"name": "r.example:5000"}, "https://r.example:5000"),
        ({"name": "127.0.0.1:5000", "plain_http": True}, "http://127.0.0.1:5000"),
        ({"name": "docker.io", "url": "https://mirror.example/"}, "https://mirror.example"),
    ],
)
def test_the_url_of_a_registry_follows_from_its_name_unless_given(
    given: dict[str, object], url: str
) -> None:
    assert RegistrySettings.model_validate(given).base_url == url


def test_docker_hub_answers_to_all_its_names() -> None:
    names = RegistrySettings(name="docker.io", aliases=("hub.example",)).names
    assert names == {"docker.io", "index.docker.io", "registry-1.docker.io", "hub.example"}


def test_a_member_without_a_port_is_at_the_peer_port() -> None:
    settings = AgentSettings.model_validate(
        {
            "peer": {"port": 7, "plaintext": True},
            "membership": {"static": ["node", "[::1]:9", "10.0.0.1"]},
        }
    )
    assert [str(m) for m in settings.static_members] == ["node:7", "[::1]:9", "10.0.0.1:7"]
