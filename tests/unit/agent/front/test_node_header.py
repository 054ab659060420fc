"""The header of the node's runtime: the same after a restart, another on another node."""

import stat
from pathlib import Path

import pytest

from shoal.agent.front.node_header import is_runtime, node_header_value, write_node_header
from shoal.core.errors import StoreError

KEY = bytes(range(32))


def test_only_the_value_of_this_node_is_the_runtimes() -> None:
    assert is_runtime(node_header_value(KEY), key=KEY)
    for other in (None, "", node_header_value(bytes(32)), node_header_value(KEY)[:-1], "\udcff"):
        assert not is_runtime(other, key=KEY)


def test_the_file_is_the_owners_only_and_comes_back_the_same(tmp_path: Path) -> None:
    path = tmp_path / "node.header"
    for _ in range(2):
        write_node_header(path, KEY)
        assert path.read_text() == f"{node_header_value(KEY)}\n"
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [entry.name for entry in tmp_path.iterdir()] == ["node.header"]


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"node\.header cannot be written"):
        write_node_header(tmp_path / "gone" / "node.header", KEY)
