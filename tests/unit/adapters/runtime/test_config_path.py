"""ConfigPath: one key more in config.toml, and the file as it was afterwards."""

from pathlib import Path

import pytest

from shoal.adapters.runtime.atomic_files import backup_of
from shoal.adapters.runtime.config_path import ConfigPath
from shoal.adapters.runtime.containerd_config import read_config
from shoal.core.errors import SettingsError
from unit.adapters.runtime.killing import killed_at_every_step
from unit.adapters.runtime.test_containerd_hosts import tree

V2 = 'plugins."io.containerd.grpc.v1.cri".registry'
V3 = "plugins.'io.containerd.cri.v1.images'.registry"
FILES = {
    "no table": "version = 2\nroot = '/data'\n",
    "no newline at its end": "version = 2",
    "its table, without the key": f"version = 2\n[{V2}]\n  # ours\n[{V2}.headers]\n  X = ['y']\n",
    "as containerd config default": f'version = 2\n[{V2}]\n  config_path = ""\n\n[debug]\n',
    "version 3": f"version = 3\n[{V3}]\nconfig_path = ''\n",
    "version 1": '[plugins.cri.registry]\n[debug]\n  level = "info"\n',
}


class Case:
    """A configuration, and certs.d beside it."""

    def __init__(self, folder: Path, text: str | None) -> None:
        self.path = folder / "config.toml"
        self.certs_d = folder / "certs.d"
        self.entry = ConfigPath(self.path)
        self.text = text
        self.write()

    def write(self) -> None:
        """Put the file there as it was."""
        for path in (self.path, backup_of(self.path)):
            path.unlink(missing_ok=True)
        if self.text is not None:
            self.path.write_text(self.text)
            self.path.chmod(0o640)

    def install(self) -> None:
        """Do what the installer does."""
        config = read_config(self.path)
        if not config.config_path:
            self.entry.install(config, self.certs_d)


@pytest.mark.parametrize("text", [*FILES.values(), None], ids=[*FILES, "no file"])
def test_containerd_reads_the_folder_and_everything_else_as_before(
    tmp_path: Path, text: str | None
) -> None:
    case = Case(tmp_path, text)
    before = tree(tmp_path)
    case.install()
    config = read_config(case.path)
    assert config.config_path == (case.certs_d,)
    assert config.misplaced == ()
    installed = tree(tmp_path)
    case.install()
    assert tree(tmp_path) == installed
    assert case.entry.remove()
    assert tree(tmp_path) == before
    assert case.entry.remove() == ""


def test_an_edit_afterwards_is_kept(tmp_path: Path) -> None:
    text = FILES["as containerd config default"]
    case = Case(tmp_path, text)
    case.install()
    with case.path.open("a") as file:
        file.write('level = "info"\n')
    assert "had been edited" in case.entry.remove()
    assert case.path.read_text() == text + 'level = "info"\n'
    assert [*tmp_path.iterdir()] == [case.path]


def test_a_file_that_was_replaced_is_left_alone(tmp_path: Path) -> None:
    case = Case(tmp_path, "version = 2\n")
    case.install()
    case.path.unlink()
    case.path.write_text("version = 3\n")
    assert case.entry.remove() == ""
    assert case.path.read_text() == "version = 3\n"
    assert [*tmp_path.iterdir()] == [case.path]


def test_a_lost_backup_costs_no_line(tmp_path: Path) -> None:
    text = FILES["as containerd config default"]
    case = Case(tmp_path, text)
    case.install()
    backup_of(case.path).unlink()
    case.entry.remove()
    assert case.path.read_text() == text


def test_what_cannot_be_put_in_is_told_and_not_tried(tmp_path: Path) -> None:
    case = Case(tmp_path, 'version = 2\nplugins = {"io.containerd.grpc.v1.cri" = {}}\n')
    before = tree(tmp_path)
    with pytest.raises(SettingsError, match="by hand"):
        case.install()
    assert tree(tmp_path) == before


@pytest.mark.parametrize("text", [FILES["no table"], None])
def test_a_kill_at_any_step_is_mended_and_undone(tmp_path: Path, text: str | None) -> None:
    folder = tmp_path / "containerd"
    folder.mkdir()
    case = Case(folder, text)

    def content() -> dict[str, str]:
        return {path.name: path.read_text() for path in folder.iterdir()}

    before = content()
    for _ in killed_at_every_step(case.write, case.install):
        case.install()
        assert read_config(case.path).config_path == (case.certs_d,)
        case.entry.remove()
        assert content() == before
    for _ in killed_at_every_step(case.write, case.install):
        case.entry.remove()
        assert content() == before

    def installed() -> None:
        case.write()
        case.install()

    for _ in killed_at_every_step(installed, case.entry.remove):
        case.entry.remove()
        assert content() == before
