"""Changes: a file that was replaced is seen, however it was."""

import os
from pathlib import Path

from shoal.adapters.mounts.state import Changes


def _mounted(volume: Path, content: str, *, version: int) -> Path:
    """Put a file in place as the kubelet does, and return its path."""
    folder = volume / f"..{version}"
    folder.mkdir()
    (folder / "agent.yaml").write_text(content)
    os.utime(folder / "agent.yaml", ns=(1, 1))
    link = volume / "..new"
    link.symlink_to(folder.name)
    link.rename(volume / "..data")
    path = volume / "agent.yaml"
    if not path.is_symlink():
        path.symlink_to("..data/agent.yaml")
    return path


def test_a_config_map_of_equal_size_and_time_is_another_one(tmp_path: Path) -> None:
    path = _mounted(tmp_path, "a", version=1)
    changes = Changes(path)
    assert not changes.seen()
    _mounted(tmp_path, "b", version=2)
    assert changes.seen()
    assert not changes.seen()


def test_a_file_that_was_written_to_has_changed(tmp_path: Path) -> None:
    path = tmp_path / "agent.yaml"
    path.write_text("a")
    changes = Changes(path)
    path.write_text("longer")
    assert changes.seen()


def test_a_file_that_is_gone_has_not_changed_until_it_is_there_again(tmp_path: Path) -> None:
    path = tmp_path / "agent.yaml"
    changes = Changes(path)
    assert not changes.seen()
    path.write_text("a")
    assert changes.seen()
    path.unlink()
    assert not changes.seen()
    path.write_text("other")
    assert changes.seen()
