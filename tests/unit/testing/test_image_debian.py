"""Which of the machine's packages and files make an image."""

import os
import tarfile
from pathlib import Path

import pytest

from shoal.testing import image_debian
from shoal.testing.image_debian import Packages, RootFiles, package_files
from shoal.testing.image_layout import LayoutWriter

STATUS = """\
Package: app
Status: install ok installed
Installed-Size: 10
Depends: lib (>= 2), awk | busybox, missing

Package: lib
Status: install ok installed
Installed-Size: 30
Depends: base
Description: of a library
 with: a colon in its second line

Package: base
Status: install ok installed
Pre-Depends: lib:any

Package: mawk
Status: install ok installed
Provides: awk, other (= 1)

Package: gone
Status: deinstall ok config-files
"""


@pytest.fixture
def packages(tmp_path: Path) -> Packages:
    (tmp_path / "status").write_text(STATUS)
    return Packages.installed(tmp_path / "status")


def test_only_installed_packages_count(packages: Packages) -> None:
    assert set(packages.by_name) == {"app", "lib", "base", "mawk"}


def test_a_machine_without_dpkg_has_none(tmp_path: Path) -> None:
    assert Packages.installed(tmp_path / "none").by_size() == []


def test_dependencies_come_first_also_in_a_ring_and_through_virtual_packages(
    packages: Packages,
) -> None:
    assert packages.closure(["app"]) == ["base", "lib", "mawk", "app"]


def test_what_is_not_installed_is_passed_over(packages: Packages) -> None:
    assert packages.closure(["gone", "unheard-of"]) == []


def test_packages_by_size_have_one_order(packages: Packages) -> None:
    assert packages.by_size() == ["lib", "app", "base", "mawk"]


def test_a_packages_files_are_those_that_dpkg_lists_without_the_machines_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(image_debian, "_INFO", tmp_path)
    (tmp_path / "lib:amd64.list").write_text("/.\n/usr\n/usr/lib/x\n/etc/apt/y\n/var/lib/z\n")
    assert package_files("lib") == ["/usr", "/usr/lib/x"]
    assert package_files("other") == []


def add(folder: Path, *paths: Path) -> list[tarfile.TarInfo]:
    """Write the files to a layer of a layout; return its entries, without folders."""
    files = RootFiles()
    with LayoutWriter(folder) as writer:
        layer = writer.layer()
        for path in paths:
            files.add(layer, str(path))
        done = layer.finish()
    with tarfile.open(folder / "blobs" / done.digest.replace(":", "/")) as tar:
        return [member for member in tar if not member.isdir()]


def test_modes_symlinks_and_hard_links_are_kept_and_owners_are_not(tmp_path: Path) -> None:
    real = tmp_path / "a"
    real.write_text("content")
    real.chmod(0o4755)
    os.utime(real, (5, 1234.5))
    (tmp_path / "hard").hardlink_to(real)
    (tmp_path / "soft").symlink_to("a")
    first, hard, soft = add(tmp_path / "out", real, tmp_path / "hard", tmp_path / "soft")
    assert (first.mode, first.mtime, first.uid, first.gid, first.uname) == (0o4755, 1234, 0, 0, "")
    assert (hard.islnk(), hard.linkname) == (True, first.name)
    assert (soft.issym(), soft.linkname) == (True, "a")


def test_a_file_named_through_a_linked_folder_is_written_once_at_its_real_place(
    tmp_path: Path,
) -> None:
    (tmp_path / "usr").mkdir()
    (tmp_path / "usr" / "tool").write_text("x")
    (tmp_path / "bin").symlink_to("usr")
    entries = add(tmp_path / "out", tmp_path / "bin" / "tool", tmp_path / "usr" / "tool")
    assert [entry.name for entry in entries] == [str(tmp_path / "usr" / "tool")[1:]]


def test_what_not_everyone_may_read_or_is_no_file_is_left_out(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("x")
    secret.chmod(0o640)
    os.mkfifo(tmp_path / "pipe", 0o644)
    assert add(tmp_path / "out", secret, tmp_path / "pipe", tmp_path / "gone") == []
