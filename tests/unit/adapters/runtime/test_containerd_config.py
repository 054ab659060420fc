"""containerd's own configuration: where its registry settings are, in every version."""

from pathlib import Path

import pytest

from shoal.adapters.runtime.containerd_config import installed_release, read_config
from shoal.core.errors import SettingsError

V2 = 'version = 2\n[plugins."io.containerd.grpc.v1.cri".registry]\n'
V3 = 'version = 3\n[plugins."io.containerd.cri.v1.images".registry]\n'
CERTS_D = Path("/etc/containerd/certs.d")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "config.toml"


@pytest.mark.parametrize("head", ["[plugins.cri.registry]\n", V2, V3])
def test_config_path_is_found_in_every_version(path: Path, head: str) -> None:
    path.write_text(f'{head}config_path = "{CERTS_D}:/etc/docker/certs.d"\n')
    config = read_config(path)
    assert config.config_path == (CERTS_D, Path("/etc/docker/certs.d"))
    assert config.set_in == path
    assert config.conflicts == config.misplaced == ()


@pytest.mark.parametrize("head", ["version = 2\n", "version = 3\n", ""])
def test_the_snippet_for_an_unset_one_is_right_when_pasted(path: Path, head: str) -> None:
    path.write_text(head)
    config = read_config(path)
    assert config.config_path == ()
    path.write_text(head + config.snippet(CERTS_D))
    assert read_config(path).config_path == (CERTS_D,)


def test_a_version_that_is_no_number_is_taken_for_the_latest(path: Path) -> None:
    path.write_text("version.n = 6\n")
    assert read_config(path).version == 3


@pytest.mark.parametrize("release", [None, (1, 6), (2, 0), (2, 1)])
def test_the_snippet_for_a_missing_file_is_a_whole_file(
    path: Path, release: tuple[int, int] | None
) -> None:
    config = read_config(path, release=release)
    assert not config.exists
    assert config.config_path == ()
    assert config.version == (2 if release == (1, 6) else 3)
    path.write_text(config.snippet(CERTS_D))
    assert read_config(path).config_path == (CERTS_D,)


@pytest.mark.parametrize("text", [None, "version = 3\n"])
def test_newer_containerd_reads_certs_d_unasked(path: Path, text: str | None) -> None:
    if text is not None:
        path.write_text(text)
    config = read_config(path, release=(2, 2))
    assert config.config_path == (CERTS_D, Path("/etc/docker/certs.d"))
    assert config.set_in is None


def test_a_config_path_where_this_version_does_not_look_is_pointed_out(path: Path) -> None:
    path.write_text(V2.replace("version = 2", "version = 3") + f'config_path = "{CERTS_D}"\n')
    config = read_config(path)
    assert config.config_path == ()
    assert config.misplaced == ('plugins."io.containerd.grpc.v1.cri".registry',)


@pytest.mark.parametrize(
    ("body", "conflict"),
    [
        ('mirrors."docker.io".endpoint = ["https://m"]\n', "registry.mirrors"),
        ('configs."r".tls.ca_file = "x"\n', "registry.configs.*.tls"),
    ],
)
def test_settings_that_containerd_refuses_beside_config_path_are_named(
    path: Path, body: str, conflict: str
) -> None:
    path.write_text(V2 + body)
    assert read_config(path).conflicts == (conflict,)


def test_credentials_in_the_configuration_are_no_conflict(path: Path) -> None:
    path.write_text(V2 + 'configs."r".auth.username = "u"\n')
    assert read_config(path).conflicts == ()


def test_imports_are_followed_relative_and_by_pattern(path: Path, tmp_path: Path) -> None:
    (tmp_path / "conf.d").mkdir()
    path.write_text('version = 3\nimports = ["conf.d/*.toml", "missing.toml"]\n')
    imported = tmp_path / "conf.d" / "registry.toml"
    imported.write_text(f'{V3}config_path = "{CERTS_D}"\n')
    config = read_config(path)
    assert config.config_path == (CERTS_D,)
    assert config.set_in == imported


@pytest.mark.parametrize(("release", "found"), [(None, ()), ((1, 6), ()), ((2, 0), (CERTS_D,))])
def test_an_import_replaces_a_plugins_settings_in_1_x_and_adds_to_them_in_2_x(
    path: Path, tmp_path: Path, release: tuple[int, int] | None, found: tuple[Path, ...]
) -> None:
    path.write_text(f'imports = ["other.toml"]\n{V2}config_path = "{CERTS_D}"\n')
    (tmp_path / "other.toml").write_text(
        'version = 2\n[plugins."io.containerd.grpc.v1.cri"]\nsandbox_image = "x"\n'
    )
    assert read_config(path, release=release).config_path == found


def test_imports_that_go_round_end(path: Path) -> None:
    path.write_text(f'imports = ["{path}"]\n{V3}config_path = "/x"\n')
    assert read_config(path).config_path == (Path("/x"),)


def test_what_is_not_toml_is_named_with_file_and_line(path: Path) -> None:
    path.write_text("version = 3\n[plugins\n")
    with pytest.raises(SettingsError, match=r"config.toml:2: not valid TOML"):
        read_config(path)


@pytest.mark.parametrize(
    ("says", "release"),
    [
        ("containerd github.com/containerd/containerd 1.6.20~ds1 1.6.20~ds1-1+deb12u4", (1, 6)),
        ("containerd github.com/containerd/containerd/v2 v2.2.0 abc", (2, 2)),
        ("no idea", None),
    ],
)
def test_the_release_is_what_the_program_says(
    tmp_path: Path, says: str, release: tuple[int, int] | None
) -> None:
    program = tmp_path / "containerd"
    program.write_text(f"#!/bin/sh\necho '{says}'\n")
    program.chmod(0o755)
    assert installed_release(str(program)) == release


def test_no_program_no_release(tmp_path: Path) -> None:
    assert installed_release(str(tmp_path / "containerd")) is None
