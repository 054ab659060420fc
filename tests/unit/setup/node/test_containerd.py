"""ContainerdNode: every registry of the agent and no other, one that is wrong by itself."""

import tomllib
from dataclasses import replace
from pathlib import Path

import pytest

from shoal.adapters.runtime.containerd_check import Finding
from shoal.adapters.runtime.host_service import HostService
from shoal.adapters.runtime.registry_name import RegistryName
from shoal.core.errors import ShoalError
from shoal.setup.node.containerd import ContainerdNode
from shoal.setup.node.told import ServedName
from unit.adapters.runtime.test_containerd_hosts import tree

URL = "http://127.0.0.1:65001"
HUB = ServedName(RegistryName("docker.io"))
QUAY = ServedName(RegistryName("quay.io"))
REWRITTEN = ServedName(
    RegistryName("a.distributed.example.com:65001"), server="https://a.example.com"
)
CONFIGS = {
    (1, 6): 'version = 2\n[plugins."io.containerd.grpc.v1.cri".registry]\n  config_path = "{}"\n',
    (1, 7): 'version = 2\n[plugins."io.containerd.grpc.v1.cri".registry]\n  config_path = "{}"\n',
    (2, 0): 'version = 3\n[plugins."io.containerd.cri.v1.images".registry]\n  config_path = "{}"\n',
    (2, 2): 'version = 3\n[plugins."io.containerd.cri.v1.images".registry]\n  config_path = "{}"\n',
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "containerd"
    folder.mkdir()
    (folder / "config.toml").write_text(CONFIGS[1, 7].format(folder / "certs.d"))
    return folder


def _wrong(findings: list[Finding]) -> dict[str, str]:
    return {it.subject: f"{it.text} {it.todo}" for it in findings if not it.ok}


@pytest.mark.parametrize("release", CONFIGS)
def test_every_release_reads_it_and_is_left_as_it_was(
    folder: Path, release: tuple[int, int]
) -> None:
    (folder / "config.toml").write_text(CONFIGS[release].format(folder / "certs.d"))
    before = tree(folder)
    node = ContainerdNode(folder)
    findings = node.apply([HUB, QUAY], front_url=URL, release=release)
    assert _wrong(findings) == {}
    hosts = tomllib.loads((folder / "certs.d" / "docker.io" / "hosts.toml").read_text())
    assert list(hosts["host"]) == [URL]
    assert {it.subject for it in node.remove()} == {"docker.io", "quay.io"}
    assert tree(folder) == before


def test_what_shows_the_agent_that_the_runtime_asks_is_in_a_file_that_others_cannot_read(
    folder: Path,
) -> None:
    before = tree(folder)
    node = ContainerdNode(folder)
    mine = replace(HUB, headers=(("X-Shoal-Node", "secret"),))
    assert _wrong(node.apply([mine, QUAY], front_url=URL, release=None)) == {}
    path = folder / "certs.d" / "docker.io" / "hosts.toml"
    assert tomllib.loads(path.read_text())["host"][URL]["header"] == {"X-Shoal-Node": "secret"}
    assert path.stat().st_mode & 0o777 == 0o600
    assert "secret" not in (folder / "certs.d" / "quay.io" / "hosts.toml").read_text()
    assert "secret" not in repr(mine)
    node.remove()
    assert tree(folder) == before


def test_a_registry_that_is_served_no_more_is_taken_away(folder: Path) -> None:
    node = ContainerdNode(folder)
    node.apply([HUB, QUAY], front_url=URL, release=None)
    node.apply([QUAY], front_url=URL, release=None)
    assert [it.name for it in (folder / "certs.d").iterdir()] == ["quay.io"]


def test_another_port_is_written_everywhere(folder: Path) -> None:
    node = ContainerdNode(folder)
    node.apply([HUB, QUAY], front_url=URL, release=None)
    node.apply([HUB, QUAY], front_url="http://127.0.0.1:7001", release=None)
    for path in folder.rglob("hosts.toml"):
        assert list(tomllib.loads(path.read_text())["host"]) == ["http://127.0.0.1:7001"]
    assert len([*folder.rglob("hosts.toml")]) == 2


def test_a_rewritten_name_has_the_real_registry_after_the_agent(folder: Path) -> None:
    ContainerdNode(folder).apply([REWRITTEN], front_url=URL, release=None)
    path = folder / "certs.d" / "a.distributed.example.com:65001" / "hosts.toml"
    assert tomllib.loads(path.read_text())["server"] == "https://a.example.com"


def test_a_file_that_is_wrong_keeps_no_other_registry_waiting(folder: Path) -> None:
    path = folder / "certs.d" / "docker.io" / "hosts.toml"
    path.parent.mkdir(parents=True)
    path.write_text("[[[")
    wrong = _wrong(ContainerdNode(folder).apply([HUB, QUAY], front_url=URL, release=None))
    assert list(wrong) == ["docker.io"]
    assert f"{path}:1" in wrong["docker.io"]
    assert path.read_text() == "[[["
    assert (folder / "certs.d" / "quay.io" / "hosts.toml").exists()


def test_what_somebody_changed_is_kept_and_told(folder: Path) -> None:
    node = ContainerdNode(folder)
    node.apply([HUB], front_url=URL, release=None)
    path = folder / "certs.d" / "docker.io" / "hosts.toml"
    with path.open("a") as file:
        file.write('# theirs\n[host."https://near"]\n')
    findings = node.apply([HUB], front_url="http://127.0.0.1:7001", release=None)
    assert any(it.ok and "was edited since" in it.text for it in findings)
    assert list(tomllib.loads(path.read_text())["host"])[1:] == ["https://near"]
    node.remove()
    assert '# theirs\n[host."https://near"]\n' in path.read_text()
    assert "shoal" not in path.read_text()


@pytest.mark.parametrize("config", ["version = 2\n", None])
def test_a_containerd_that_does_not_read_the_folder_is_told_how_to(
    folder: Path, config: str | None
) -> None:
    (folder / "config.toml").unlink()
    if config is not None:
        (folder / "config.toml").write_text(config)
    wrong = _wrong(ContainerdNode(folder).apply([HUB], front_url=URL, release=(1, 7)))
    assert list(wrong) == ["config_path"]
    assert f'config_path = "{folder / "certs.d"}"' in wrong["config_path"]
    assert (folder / "certs.d" / "docker.io" / "hosts.toml").exists()


def test_a_config_path_elsewhere_is_told_in_the_charts_words(folder: Path) -> None:
    (folder / "config.toml").write_text(CONFIGS[1, 7].format("/opt/containerd/certs.d"))
    wrong = _wrong(ContainerdNode(folder).apply([HUB], front_url=URL, release=(1, 7)))
    assert "set the chart's runtime.dir to the folder above" in wrong["config_path"]


def test_a_config_path_that_moved_leaves_nothing_behind(folder: Path) -> None:
    before = tree(folder)
    config = (folder / "config.toml").read_text()
    node = ContainerdNode(folder)
    node.apply([HUB], front_url=URL, release=None)
    (folder / "config.toml").write_text(config.replace("certs.d", "registries"))
    node.apply([HUB], front_url=URL, release=None)
    assert sorted(it.name for it in folder.iterdir()) == ["config.toml", "registries"]
    node.remove()
    assert set(tree(folder)) == set(before)


def test_a_broken_configuration_is_named_and_hinders_neither_coming_nor_going(
    folder: Path,
) -> None:
    (folder / "config.toml").write_text("[[[")
    before = tree(folder)
    node = ContainerdNode(folder)
    assert "config.toml" in _wrong(node.apply([HUB], front_url=URL, release=None))
    assert (folder / "certs.d" / "docker.io" / "hosts.toml").exists()
    node.remove()
    assert tree(folder) == before


def test_a_folder_that_cannot_be_written_is_told_and_nothing_raised(folder: Path) -> None:
    # A file where the folder belongs: root may write wherever modes forbid it.
    (folder / "certs.d").write_text("no folder")
    wrong = _wrong(ContainerdNode(folder).apply([HUB], front_url=URL, release=None))
    assert "certs.d" in wrong["docker.io"]


def test_k3s_can_write_its_folder_anew(folder: Path) -> None:
    node = ContainerdNode(folder)
    before = tree(folder)
    node.apply([HUB], front_url=URL, release=None)
    for path in folder.rglob("hosts.toml"):
        path.unlink()
    node.apply([HUB], front_url=URL, release=None)
    assert (folder / "certs.d" / "docker.io" / "hosts.toml").exists()
    node.remove()
    assert set(tree(folder)) >= set(before)


class Service(HostService):
    """A containerd that notes when it was restarted."""

    def __init__(self, *, is_old: bool = True) -> None:
        super().__init__("containerd")
        self.is_old = is_old
        self.restarts = 0
        self.error: ShoalError | None = None

    def is_older_than(self, path: Path) -> bool:
        """Say what a test wants."""
        return self.is_old

    def restart(self) -> None:
        """Note it."""
        if self.error is not None:
            raise self.error
        self.restarts += 1


def test_where_it_may_a_containerd_is_made_to_read_the_folder_and_restarted_once(
    folder: Path,
) -> None:
    (folder / "config.toml").write_text("version = 2\n")
    before = tree(folder)
    service = Service()
    node = ContainerdNode(folder, service=service)
    for _ in range(3):
        assert _wrong(node.apply([HUB], front_url=URL, release=(1, 7))) == {}
    assert service.restarts == 1
    node.remove()
    assert tree(folder) == before


def test_a_containerd_that_reads_it_already_is_not_restarted(folder: Path) -> None:
    service = Service(is_old=False)
    ContainerdNode(folder, service=service).apply([HUB], front_url=URL, release=(1, 7))
    assert service.restarts == 0
    assert "shoal" not in (folder / "config.toml").read_text()


def test_an_installer_that_died_before_the_restart_makes_up_for_it(folder: Path) -> None:
    (folder / "config.toml").write_text("version = 2\n")
    dead = Service()
    dead.error = ShoalError("killed")
    wrong = _wrong(ContainerdNode(folder, service=dead).apply([HUB], front_url=URL, release=None))
    assert "systemctl restart containerd" in wrong["restart"]
    service = Service()
    ContainerdNode(folder, service=service).apply([HUB], front_url=URL, release=None)
    assert service.restarts == 1


def test_what_forbids_a_config_path_is_told_and_nothing_restarted(folder: Path) -> None:
    (folder / "config.toml").write_text(
        'version = 2\n[plugins."io.containerd.grpc.v1.cri".registry.mirrors."x"]\nendpoint = []\n'
    )
    service = Service(is_old=False)
    node = ContainerdNode(folder, service=service)
    assert "conflicts" in _wrong(node.apply([HUB], front_url=URL, release=(1, 7)))
    assert "config_path =" not in (folder / "config.toml").read_text()
