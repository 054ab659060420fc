"""Loading settings: three sources, the later wins, and errors that name key and source."""

import contextlib
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shoal.agent.settings import AgentSettings
from shoal.agent.settings_load import load_settings, parse_flags
from shoal.core.errors import SettingsError


def _load(
    *flags: str, environment: Mapping[str, str] | None = None, file: Path | None = None
) -> AgentSettings:
    return load_settings(environment=environment or {}, flags=parse_flags(flags), config=file)


def _refused(
    *flags: str, environment: Mapping[str, str] | None = None, file: Path | None = None
) -> str:
    with pytest.raises(SettingsError) as caught:
        _load(*flags, environment=environment, file=file)
    assert caught.value.exit_code == 78
    return str(caught.value)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "agent.yaml"
    path.write_text(
        "front:\n  port: 1001\n  hosts: [127.0.0.1]\n"
        "peer:\n  port: 1002\n"
        "exporter:\n  port: 1003\n",
        encoding="utf-8",
    )
    return path


def test_the_environment_wins_over_the_file_and_a_flag_over_both(file: Path) -> None:
    environment = {"SHOAL_PEER__PORT": "2002", "SHOAL_EXPORTER__PORT": "2003", "HOME": "/root"}
    settings = _load("--exporter.port", "3003", environment=environment, file=file)
    ports = (settings.front.port, settings.peer.port, settings.exporter.port)
    assert ports == (1001, 2002, 3003)


def test_the_file_is_named_by_flag_or_environment(file: Path) -> None:
    assert _load("--config", str(file)).front.port == 1001
    assert _load(f"-c={file}").front.port == 1001
    assert _load(environment={"SHOAL_CONFIG": str(file)}).front.port == 1001


def test_every_kind_of_value_can_be_given_as_a_flag() -> None:
    settings = _load(
        "--front.allow_remote",
        "--exporter.enabled=false",
        "--store.quota_bytes",
        "3GiB",
        "--drain_timeout_s=2m",
        "--membership.static",
        "a:1,[::1]:65002",
        "--membership.static",
        '["b:2"]',
        "--membership.static=[::2]:65002",
        "--registries",
        '[{name: docker.io}, {"name": "127.0.0.1:5000", "plain_http": true}]',
        "--peer.address=",
        "--peer.plaintext",
    )
    assert settings.front.allow_remote
    assert not settings.exporter.enabled
    assert settings.store.quota_bytes == 3 * 2**30
    assert settings.drain_timeout_s == 120
    assert settings.membership.static == ("a:1", "[::1]:65002", "b:2", "[::2]:65002")
    assert [registry.name for registry in settings.registries] == ["docker.io", "127.0.0.1:5000"]
    assert settings.peer.address is None


def test_one_object_stands_for_a_list_of_one() -> None:
    settings = _load(environment={"SHOAL_REGISTRIES": "{name: docker.io}"})
    assert settings.registries[0].name == "docker.io"


def test_an_object_that_may_be_absent_is_given_as_yaml_or_json() -> None:
    service = {
        "SHOAL_MEMBERSHIP__KUBERNETES": "{namespace: a, service: b}",
        "SHOAL_PEER__PLAINTEXT": "true",
    }
    kubernetes = _load("--peer.address=10.0.0.1", environment=service).membership.kubernetes
    assert kubernetes is not None
    assert (kubernetes.namespace, kubernetes.service) == ("a", "b")
    assert _load("--membership.kubernetes=", environment=service).membership.kubernetes is None
    assert "expected an object" in _refused("--membership.kubernetes=[a]")
    wrong = _refused("--membership.kubernetes={namespace: a, servcie: b}")
    assert "did you mean membership.kubernetes.service?" in wrong
    assert "as Kubernetes names" in _refused("--membership.kubernetes={namespace: A, service: b}")


def test_a_list_replaces_the_list_of_an_earlier_source(file: Path) -> None:
    settings = _load(environment={"SHOAL_FRONT__HOSTS": "::1"}, file=file)
    assert settings.front.hosts == ("::1",)


def test_a_section_without_keys_means_its_defaults(tmp_path: Path) -> None:
    path = tmp_path / "agent.yaml"
    path.write_text("front:\nregistries:\n", encoding="utf-8")
    assert "registries: expected a list, got None" in _refused(file=path)
    path.write_text("front:\n", encoding="utf-8")
    assert _load(file=path) == AgentSettings()


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--front.prot", "1"], "there is no flag --front.prot; did you mean --front.port?"),
        (["--front-port", "1"], "did you mean --front.port?"),
        (["--site", "a"], "did you mean --membership.site?"),
        (["--quota_bytes", "1"], "did you mean --store.quota_bytes?"),
        (["front.port"], "'front.port' is not a flag: write --front.port"),
        (["--front.port"], "--front.port needs a value"),
        (["--front.port", "--peer.port=1"], "--front.port needs a value"),
        (["--config"], "--config needs a value"),
    ],
)
def test_a_flag_that_is_wrong_names_the_nearest_right_one(flags: list[str], message: str) -> None:
    assert message in _refused(*flags)


@pytest.mark.parametrize(
    ("variable", "message"),
    [
        ("SHOAL_FRONT__PROT", "names no setting; did you mean SHOAL_FRONT__PORT?"),
        ("SHOAL_FRONT_PORT", "names no setting; did you mean SHOAL_FRONT__PORT?"),
        ("SHOAL_XYZZY", "environment variable SHOAL_XYZZY names no setting"),
    ],
)
def test_a_variable_that_names_no_setting_is_refused(variable: str, message: str) -> None:
    assert message in _refused(environment={variable: "1"})


def test_variables_that_kubernetes_sets_for_a_service_are_no_settings() -> None:
    environment = {
        "SHOAL_SERVICE_HOST": "10.0.0.1",
        "SHOAL_SERVICE_PORT": "65001",
        "SHOAL_SERVICE_PORT_PEERS": "65002",
        "SHOAL_PORT": "tcp://10.0.0.1:65001",
        "SHOAL_PEERS_PORT_65002_TCP": "tcp://10.0.0.1:65002",
        "SHOAL_PEERS_PORT_65002_TCP_ADDR": "10.0.0.1",
        "SHOAL_DEBUG": "1",
    }
    assert _load(environment=environment) == AgentSettings()


def test_an_error_names_key_expectation_value_and_source(file: Path) -> None:
    file.write_text("front:\n  port: high\n", encoding="utf-8")
    assert _refused(file=file) == (
        f"front.port: expected a whole number, got 'high' ({file} line 2)"
    )
    assert _refused(environment={"SHOAL_LOG__LEVEL": "loud"}) == (
        "log.level: expected 'debug', 'info', 'warning' or 'error', got 'loud' "
        "(environment variable SHOAL_LOG__LEVEL)"
    )
    assert _refused("--store.quota_bytes", "20 apples") == (
        "store.quota_bytes: expected a size in bytes, as 21474836480, 20GiB or 500MB, "
        "got '20 apples' (flag --store.quota_bytes)"
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("frnt: {port: 1}\n", "frnt: there is no such setting; did you mean front?"),
        ("a[b: 1\n", "a[b: there is no such setting"),
        ("port: 1\n", "did you mean front.port or peer.port or exporter.port?"),
        ("front: {prot: 1}\n", "did you mean front.port?"),
        (
            "registries: [{name: a, plain-http: true}]\n",
            "did you mean registries[0].plain_http?",
        ),
        ("registries: [{url: 'https://a'}]\n", "registries[0].name: is required"),
        ("registries: {name: a}\n", "registries: expected a list"),
        ("front: 65001\n", "front: expected a section of keys and values"),
        ("front: {port: true}\n", "front.port: expected a whole number, got True"),
        ("front: {port: 70000}\n", "front.port: expected at most 65535, got 70000"),
        ("front: {hosts: []}\n", "front.hosts: expected at least one item"),
        ("front: {hosts: [localhost]}\n", "front.hosts[0]: expected an IP address"),
        ("supervisor: {enabled: maybe}\n", "supervisor.enabled: expected true or false"),
        ("drain_timeout_s: 0\n", "drain_timeout_s: expected more than 0, got 0"),
        ("store: {path: 7}\n", "store.path: expected a path"),
        ("membership: {site: 7}\n", "membership.site: expected text, got 7"),
    ],
)
def test_a_file_that_is_wrong_names_the_key_and_what_was_expected(
    file: Path, text: str, message: str
) -> None:
    file.write_text(text, encoding="utf-8")
    refused = _refused(file=file)
    assert message in refused
    assert f"({file} line 1)" in refused


def test_a_contradiction_names_the_sources_of_both_sides(file: Path) -> None:
    refused = _refused("--peer.port=1001", file=file)
    assert "front.port and peer.port are both 1001" in refused
    assert f"(flag --peer.port, {file} line 2)" in refused


def test_all_that_is_wrong_is_told_at_once(file: Path) -> None:
    file.write_text("front: {prot: 1}\nlog: {level: loud}\n", encoding="utf-8")
    refused = _refused(environment={"SHOAL_X__Y": "1"}, file=file)
    assert refused.startswith("3 settings are wrong:\n  ")
    assert len(refused.splitlines()) == 4


def test_a_password_that_stands_where_none_belongs_is_not_repeated() -> None:
    refused = _refused(
        "--membership.static", "https://user:hunter2@node", "--store.path", "//u:hunter2@host"
    )
    assert "hunter2" not in refused


def test_a_flag_on_a_section_that_the_file_got_wrong_does_not_hide_the_error(file: Path) -> None:
    file.write_text("front: 65001\n", encoding="utf-8")
    assert "front: expected a section" in _refused("--front.port=1", file=file)


@given(st.lists(st.text(alphabet="-=.[]{}:,abfrontpes1 ", max_size=20), max_size=5))
def test_any_command_line_loads_or_is_refused(words: list[str]) -> None:
    with contextlib.suppress(SettingsError):
        load_settings(environment={}, flags=parse_flags(words))


@given(
    st.sampled_from(["SHOAL_REGISTRIES", "SHOAL_FRONT__HOSTS", "SHOAL_STORE__QUOTA_BYTES"]),
    st.text(max_size=40),
)
def test_any_variable_loads_or_is_refused(variable: str, text: str) -> None:
    with contextlib.suppress(SettingsError):
        load_settings(environment={variable: text}, flags=parse_flags([]))
