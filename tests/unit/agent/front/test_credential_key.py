"""The node's key in its file."""

import os
from pathlib import Path

import pytest

from shoal.agent.front.credential_key import load_or_make_key
from shoal.core.errors import StoreError


def test_a_key_is_made_once_and_only_its_owner_can_read_it(tmp_path: Path) -> None:
    path = tmp_path / "credential.key"
    key = load_or_make_key(path)
    assert len(key) == 32
    assert load_or_make_key(path) == key
    assert path.stat().st_mode & 0o777 == 0o600
    assert os.listdir(tmp_path) == ["credential.key"]  # noqa: PTH208 - hidden files count too


def test_two_nodes_have_two_keys(tmp_path: Path) -> None:
    assert load_or_make_key(tmp_path / "one") != load_or_make_key(tmp_path / "two")


def test_a_key_that_others_can_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "credential.key"
    load_or_make_key(path)
    path.chmod(0o644)
    with pytest.raises(StoreError, match="others can read"):
        load_or_make_key(path)


@pytest.mark.parametrize("content", [b"", b"short", bytes(100)])
def test_a_damaged_key_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "credential.key"
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(StoreError, match="holds no key"):
        load_or_make_key(path)


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    path = tmp_path / "credential.key"
    load_or_make_key(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StoreError, match=r"credential\.key"):
        load_or_make_key(path)


def test_a_folder_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="nowhere"):
        load_or_make_key(tmp_path / "nowhere" / "credential.key")
