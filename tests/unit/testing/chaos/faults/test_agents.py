"""What a damaged file of the store is: one byte is another."""

from pathlib import Path

import pytest

from shoal.testing.chaos.faults.agents import damage


@pytest.mark.parametrize("share", [0.0, 0.5, 0.999])
def test_damage_changes_one_byte_and_no_length(tmp_path: Path, share: float) -> None:
    file = tmp_path / "blob"
    file.write_bytes(bytes(100))
    damage(file, share=share)
    assert len(file.read_bytes()) == 100
    assert file.read_bytes().count(0xFF) == 1


def test_what_is_empty_or_gone_cannot_be_damaged(tmp_path: Path) -> None:
    damage(tmp_path / "gone", share=0.5)
    (tmp_path / "empty").touch()
    damage(tmp_path / "empty", share=0.5)
    assert (tmp_path / "empty").read_bytes() == b""
