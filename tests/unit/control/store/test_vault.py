"""Sealed secrets: they open with their key for their record, and with nothing else."""

from pathlib import Path

import pytest

from shoal.control.store.vault import KEY_BYTES, Vault, open_vault
from shoal.core.errors import SettingsError


def test_a_secret_comes_back_and_is_not_in_what_is_kept(vault: Vault) -> None:
    sealed = vault.seal("very-secret", belongs_to="LTAI1")
    assert "very-secret" not in sealed
    assert vault.open(sealed, belongs_to="LTAI1") == "very-secret"


def test_a_secret_does_not_open_for_another_record_or_with_another_key(vault: Vault) -> None:
    sealed = vault.seal("very-secret", belongs_to="LTAI1")
    with pytest.raises(SettingsError, match="LTAI2"):
        vault.open(sealed, belongs_to="LTAI2")
    with pytest.raises(SettingsError, match="key file"):
        Vault(b"\1" * KEY_BYTES).open(sealed, belongs_to="LTAI1")


def test_the_key_file_is_made_once_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "console.key"
    sealed = open_vault(path).seal("s", belongs_to="a")
    assert path.stat().st_mode & 0o777 == 0o600
    assert open_vault(path).open(sealed, belongs_to="a") == "s"


def test_a_key_file_that_others_may_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "console.key"
    open_vault(path)
    path.chmod(0o644)
    with pytest.raises(SettingsError, match="chmod 600"):
        open_vault(path)


def test_a_key_file_of_another_length_or_in_no_folder_is_refused(tmp_path: Path) -> None:
    short = tmp_path / "short.key"
    short.write_bytes(b"x")
    short.chmod(0o600)
    with pytest.raises(SettingsError, match="1 bytes"):
        open_vault(short)
    with pytest.raises(SettingsError, match="cannot make"):
        open_vault(tmp_path / "no" / "folder.key")


def test_a_vault_does_not_show_its_key(vault: Vault) -> None:
    assert repr(vault) == "Vault(key=…)"
