"""Files are replaced at once, kept exactly and restored exactly."""

import os
from pathlib import Path

import pytest

from shoal.adapters.runtime import atomic_files
from shoal.core.errors import ShoalError


def facts(path: Path) -> tuple[object, ...]:
    was = path.lstat()
    link = path.readlink() if path.is_symlink() else None
    return was.st_mode, was.st_uid, was.st_gid, was.st_mtime_ns, was.st_ino, link, path.read_bytes()


def test_the_original_comes_back_exactly(tmp_path: Path) -> None:
    path = tmp_path / "hosts.toml"
    path.write_bytes(b"old\r\n")
    path.chmod(0o640)
    os.utime(path, ns=(1, 1_000_000_007))
    was = facts(path)
    atomic_files.keep_original(path)
    atomic_files.replace(path, b"new", like=path)
    assert path.read_bytes() == b"new"
    atomic_files.restore_original(path)
    assert facts(path) == was
    assert [it.name for it in tmp_path.iterdir()] == ["hosts.toml"]


def test_a_symbolic_link_is_replaced_not_followed_and_comes_back(tmp_path: Path) -> None:
    target = tmp_path / "shared.toml"
    target.write_bytes(b"shared")
    path = tmp_path / "hosts.toml"
    path.symlink_to("shared.toml")
    was = facts(path)
    atomic_files.keep_original(path)
    atomic_files.replace(path, b"new", like=path)
    assert target.read_bytes() == b"shared"
    assert not path.is_symlink()
    atomic_files.restore_original(path)
    assert facts(path) == was


def test_keeping_again_after_a_crash_in_between_is_no_harm(tmp_path: Path) -> None:
    path = tmp_path / "hosts.toml"
    path.write_bytes(b"one")
    atomic_files.keep_original(path)
    atomic_files.keep_original(path)
    (tmp_path / ".hosts.toml.shoal-tmp").write_bytes(b"left over")
    atomic_files.replace(path, b"two")
    assert sorted(it.name for it in tmp_path.iterdir()) == [
        "hosts.toml",
        "hosts.toml.shoal-backup",
    ]
    assert atomic_files.backup_of(path).read_bytes() == b"one"


@pytest.mark.parametrize(("secret", "mode"), [(False, 0o644), (True, 0o600)])
def test_a_secret_is_readable_by_its_owner_only(tmp_path: Path, secret: bool, mode: int) -> None:
    path = tmp_path / "hosts.toml"
    atomic_files.replace(path, b"x", secret=secret)
    assert path.stat().st_mode & 0o777 == mode


def test_a_failed_write_leaves_the_old_file_and_names_it(tmp_path: Path) -> None:
    path = tmp_path / "folder"
    path.mkdir()
    with pytest.raises(ShoalError, match=str(path)):
        atomic_files.replace(path, b"x")
    assert [it.name for it in tmp_path.iterdir()] == ["folder"]


def test_folders_come_with_their_file_and_go_with_it(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "c" / "file"
    atomic_files.create(path, b"content")
    assert path.read_bytes() == b"content"
    assert [it.stat().st_mode & 0o777 for it in path.parents[:3]] == [0o755] * 3
    assert [*tmp_path.iterdir()] == [tmp_path / "a"]
    atomic_files.remove_made(path, levels=3)
    assert [*tmp_path.iterdir()] == []


def test_a_folder_that_holds_something_else_stays(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "file"
    atomic_files.create(path, b"content")
    (tmp_path / "a" / "other").write_bytes(b"")
    atomic_files.remove_made(path, levels=2)
    assert [*tmp_path.rglob("*")] == [tmp_path / "a", tmp_path / "a" / "other"]


def test_what_a_crash_left_is_cleared_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / ".b.shoal-tmp" / "c").mkdir(parents=True)
    (tmp_path / ".file.shoal-tmp").write_bytes(b"half")
    (tmp_path / "file").write_bytes(b"whole")
    atomic_files.clear_leftovers(tmp_path, of="b")
    assert sorted(it.name for it in tmp_path.iterdir()) == [".file.shoal-tmp", "file"]
    atomic_files.clear_leftovers(tmp_path)
    assert [*tmp_path.iterdir()] == [tmp_path / "file"]


def test_two_commands_at_once_are_refused(tmp_path: Path) -> None:
    with (
        atomic_files.only_one(tmp_path / "not" / "there"),
        pytest.raises(ShoalError, match="at work"),
        atomic_files.only_one(tmp_path),
    ):
        pass
    with atomic_files.only_one(tmp_path):
        pass
