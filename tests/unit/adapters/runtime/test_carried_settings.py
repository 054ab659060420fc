"""What was in force for a registry stays in force in a hosts.toml of its own."""

import tomllib
from pathlib import Path

import pytest

from shoal.adapters.runtime.carried_settings import carried_text, folder_in_force, new_text
from shoal.adapters.runtime.registry_name import RegistryName
from shoal.core.errors import SettingsError

QUAY = RegistryName("quay.io")


def folder(root: Path, name: str, **files: str) -> Path:
    path = root / name
    path.mkdir(parents=True)
    for key, text in files.items():
        (path / key.replace("__", ".")).write_text(text)
    return path


def test_the_first_folder_that_exists_wins_in_containerds_order(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    with_port = RegistryName("r.example.com:5000")
    assert folder_in_force(with_port, roots=[first, second]) is None
    folders = [
        folder(second, "r.example.com:5000"),
        folder(first, "_default"),
        folder(first, "r.example.com:5000"),
        folder(first, "r.example.com_5000_"),
    ]
    for count, newest in enumerate(folders):
        ignoring = frozenset(folders[count + 1 :])
        assert folder_in_force(with_port, roots=[first, second], ignoring=ignoring) == newest


def test_an_unknown_registry_has_its_own_server_only() -> None:
    assert tomllib.loads(new_text("https://quay.io")) == {"server": "https://quay.io"}
    assert new_text(None) == ""


def test_relative_paths_of_default_become_absolute(tmp_path: Path) -> None:
    default = folder(
        tmp_path,
        "_default",
        hosts__toml='# all\nca = "root.crt"\n[host."https://m"]\n'
        'ca = ["/abs.crt", "m.crt"]\nclient = [["c.cert", "c.key"]]\n',
    )
    text = carried_text(default, into=tmp_path / "quay.io", server="https://quay.io")
    assert "# all" in text
    assert tomllib.loads(text) == {
        "server": "https://quay.io",
        "ca": str(default / "root.crt"),
        "host": {
            "https://m": {
                "ca": ["/abs.crt", str(default / "m.crt")],
                "client": [[str(default / "c.cert"), str(default / "c.key")]],
            }
        },
    }


def test_a_server_that_default_names_is_kept(tmp_path: Path) -> None:
    default = folder(tmp_path, "_default", hosts__toml='server = "https://cache"\n')
    text = carried_text(default, into=tmp_path / "quay.io", server="https://quay.io")
    assert tomllib.loads(text) == {"server": "https://cache"}


@pytest.mark.parametrize("own", [True, False])
def test_certificate_files_are_kept_in_force(tmp_path: Path, own: bool) -> None:
    source = folder(
        tmp_path, "certs", ca__crt="", me__cert="", me__key="", both__cert="", README=""
    )
    into = source if own else tmp_path / "quay.io"
    prefix = "" if own else f"{source}/"
    text = carried_text(source, into=into, server="https://quay.io")
    assert tomllib.loads(text) == {
        "server": "https://quay.io",
        "ca": [f"{prefix}ca.crt"],
        "client": [
            [f"{prefix}both.cert", f"{prefix}both.cert"],
            [f"{prefix}me.cert", f"{prefix}me.key"],
        ],
    }


def test_an_empty_hosts_toml_counts_as_none(tmp_path: Path) -> None:
    source = folder(tmp_path, "certs", ca__crt="", hosts__toml="")
    assert "ca.crt" in carried_text(source, into=tmp_path / "quay.io", server=None)


def test_a_broken_default_is_named(tmp_path: Path) -> None:
    default = folder(tmp_path, "_default", hosts__toml="= 3\n")
    with pytest.raises(SettingsError, match=r"_default/hosts.toml:1: not valid TOML"):
        carried_text(default, into=tmp_path / "quay.io", server=None)
