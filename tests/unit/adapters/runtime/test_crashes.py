"""A command that is killed at any step leaves what the next one mends, and what remove undoes."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from shoal.adapters.runtime.containerd_hosts import ContainerdHosts
from shoal.adapters.runtime.crio_registries import CrioRegistries, Mirrored
from shoal.adapters.runtime.hosts_toml import AgentEntry
from shoal.adapters.runtime.registry_name import RegistryName
from unit.adapters.runtime.killing import killed_at_every_step
from unit.adapters.runtime.test_containerd_hosts import ADMINS, tree

HUB = RegistryName("docker.io")
QUAY = RegistryName("quay.io")
HUB_MIRROR = Mirrored("docker.io", "docker.io", "127.0.0.1:65001/docker.io")


def _no_certs_d(folder: Path) -> None:
    folder.mkdir()


def _admins_file(folder: Path) -> None:
    (folder / "certs.d" / "docker.io").mkdir(parents=True)
    (folder / "certs.d" / "docker.io" / "hosts.toml").write_text(ADMINS)
    (folder / "certs.d" / "docker.io" / "x.crt").write_text("certificate")


def _defaults(folder: Path) -> None:
    (folder / "certs.d" / "_default").mkdir(parents=True)
    (folder / "certs.d" / "_default" / "hosts.toml").write_text(ADMINS)


def _edited(folder: Path) -> None:
    _admins_file(folder)
    ContainerdHosts(folder / "certs.d").install([HUB], AgentEntry("http://127.0.0.1:7001"))
    with (folder / "certs.d" / "docker.io" / "hosts.toml").open("a") as file:
        file.write('# theirs\n[host."https://far"]\n')


class Case:
    """A folder that is made anew before each time."""

    def __init__(self, folder: Path, make: Callable[[Path], None]) -> None:
        self.folder = folder
        self.make = make
        self.before: dict[str, tuple[object, ...]] = {}

    def begin(self) -> None:
        """Make it anew."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self.make(self.folder)
        self.before = tree(self.folder)


def _install(hosts: ContainerdHosts) -> None:
    hosts.install([HUB, QUAY], AgentEntry("http://127.0.0.1:65001"))


@pytest.mark.parametrize("make", [_no_certs_d, _admins_file, _defaults])
def test_hosts_that_were_half_installed_are_removed_without_a_trace(
    tmp_path: Path, make: Callable[[Path], None]
) -> None:
    case = Case(tmp_path / "containerd", make)
    hosts = ContainerdHosts(case.folder / "certs.d")
    for _ in killed_at_every_step(case.begin, lambda: _install(hosts)):
        hosts.remove()
        assert tree(case.folder) == case.before


@pytest.mark.parametrize("make", [_no_certs_d, _admins_file, _defaults, _edited])
def test_hosts_that_were_half_installed_are_installed_by_the_next_run(
    tmp_path: Path, make: Callable[[Path], None]
) -> None:
    case = Case(tmp_path / "containerd", make)
    hosts = ContainerdHosts(case.folder / "certs.d")
    path = case.folder / "certs.d" / "docker.io" / "hosts.toml"
    case.begin()
    _install(hosts)
    wanted = path.read_text()
    for _ in killed_at_every_step(case.begin, lambda: _install(hosts)):
        _install(hosts)
        assert path.read_text() == wanted
        hosts.remove()
        if make is not _edited:
            assert tree(case.folder) == case.before


@pytest.mark.parametrize("make", [_no_certs_d, _admins_file, _defaults])
def test_hosts_that_were_half_removed_are_removed_by_the_next_run(
    tmp_path: Path, make: Callable[[Path], None]
) -> None:
    case = Case(tmp_path / "containerd", make)
    hosts = ContainerdHosts(case.folder / "certs.d")

    def begin() -> None:
        case.begin()
        _install(hosts)

    for _ in killed_at_every_step(begin, hosts.remove):
        hosts.remove()
        assert tree(case.folder) == case.before


def test_an_edit_survives_a_removal_that_was_cut_short(tmp_path: Path) -> None:
    case = Case(tmp_path / "containerd", _edited)
    hosts = ContainerdHosts(case.folder / "certs.d")
    path = case.folder / "certs.d" / "docker.io" / "hosts.toml"
    for _ in killed_at_every_step(case.begin, hosts.remove):
        hosts.remove()
        assert path.read_text() == ADMINS + '# theirs\n[host."https://far"]\n'
        assert sorted(it.name for it in path.parent.iterdir()) == ["hosts.toml", "x.crt"]


@pytest.mark.parametrize("has_folder", [False, True])
def test_a_registries_file_is_there_or_not_whenever_its_writer_dies(
    tmp_path: Path, has_folder: bool
) -> None:
    def make(folder: Path) -> None:
        folder.mkdir()
        (folder / "registries.conf").write_text("[[registry]]\nlocation = 'docker.io'\n")
        if has_folder:
            (folder / "registries.conf.d").mkdir()

    case = Case(tmp_path / "containers", make)
    registries = CrioRegistries(case.folder)

    def installed() -> None:
        case.begin()
        registries.install([HUB_MIRROR])

    for _ in killed_at_every_step(case.begin, lambda: registries.install([HUB_MIRROR])):
        registries.install([HUB_MIRROR])
        registries.remove()
        assert tree(case.folder) == case.before
    for _ in killed_at_every_step(case.begin, lambda: registries.install([HUB_MIRROR])):
        registries.remove()
        assert tree(case.folder) == case.before
    for _ in killed_at_every_step(installed, registries.remove):
        registries.remove()
        assert tree(case.folder) == case.before
