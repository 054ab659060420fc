"""Files that are written whole, and never over another unasked."""

import stat
from pathlib import Path

import pytest

from shoal.adapters.certificates.errors import CertificateError
from shoal.adapters.certificates.files import SECRET, make_folder, naming, only_one, read, write


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_secret_is_its_owners_alone_and_nothing_is_left_beside_it(tmp_path: Path) -> None:
    write(tmp_path / "tls.key", b"key", mode=SECRET)
    assert read(tmp_path / "tls.key", private=True) == b"key"
    assert _mode(tmp_path / "tls.key") == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["tls.key"]


def test_a_file_that_is_there_stays_unless_it_is_to_be_replaced(tmp_path: Path) -> None:
    path = tmp_path / "tls.crt"
    write(path, b"one")
    with pytest.raises(CertificateError, match="is there already"):
        write(path, b"two")
    assert read(path) == b"one"
    write(path, b"two", replace=True)
    assert (read(path), _mode(path)) == (b"two", 0o644)
    assert [found.name for found in tmp_path.iterdir()] == ["tls.crt"]


def test_what_everyone_can_read_is_no_secret(tmp_path: Path) -> None:
    write(tmp_path / "tls.key", b"key")
    with pytest.raises(CertificateError, match="chmod o="):
        read(tmp_path / "tls.key", private=True)


def test_files_that_cannot_be_had_are_named(tmp_path: Path) -> None:
    for path in (tmp_path / "none", tmp_path):
        with pytest.raises(CertificateError, match=f"^{path}: "):
            read(path)
    with pytest.raises(CertificateError), naming(tmp_path):
        raise PermissionError(13, "Permission denied")


def test_a_folder_is_made_with_what_is_above_it(tmp_path: Path) -> None:
    make_folder(tmp_path / "a" / "b")
    make_folder(tmp_path / "a" / "b")
    assert _mode(tmp_path / "a" / "b") == 0o700


def test_two_commands_do_not_change_a_folder_at_once(tmp_path: Path) -> None:
    refused = pytest.raises(CertificateError, match="try again")
    with only_one(tmp_path), refused, only_one(tmp_path):
        pytest.fail("the second got in")
    with only_one(tmp_path):
        pass
