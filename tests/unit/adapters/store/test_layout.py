"""Where the disk store keeps what, and who may use it."""

import os
import stat
from pathlib import Path

import pytest

from shoal.adapters.store.layout import Layout
from shoal.core.blob import BlobTag
from shoal.core.digest import Digest
from shoal.core.errors import BadInput, StoreError


def test_a_blob_lies_under_its_algorithm_and_two_digits() -> None:
    digest = Digest.parse("sha256:ab" + "0" * 62)
    assert Layout(Path("/s")).blob(digest) == Path(f"/s/blobs/sha256/ab/ab{'0' * 62}")


def test_a_partial_blob_lies_under_its_tag() -> None:
    layout, tag = Layout(Path("/s")), BlobTag(bytes(15) + b"\x01")
    assert layout.data(tag) == Path(f"/s/partial/{'0' * 31}1.data")
    assert layout.map(tag) == Path(f"/s/partial/{'0' * 31}1.map")


@pytest.mark.parametrize(
    "digest",
    [
        Digest("sha256", "../../etc/passwd"),
        Digest("../..", "0" * 64),
        Digest("sha256", "A" * 64),
        Digest("sha512", "0" * 64),
    ],
)
def test_a_digest_that_is_none_makes_no_path(digest: Digest) -> None:
    with pytest.raises(BadInput):
        Layout(Path("/s")).blob(digest)


def test_folders_are_for_their_owner_only_also_those_that_were_there(tmp_path: Path) -> None:
    layout = Layout(tmp_path / "deep" / "store")
    layout.blobs.mkdir(parents=True)
    layout.blobs.chmod(0o755)
    layout.prepare()
    digest = Digest.parse("sha256:" + "0" * 64)
    path = layout.prepare_for(digest)
    for folder in (layout.blobs, layout.partials, path.parent, path.parent.parent):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert layout.prepare_for(digest) == path


def test_the_mode_of_a_root_that_was_there_is_left_alone(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    Layout(tmp_path).prepare()
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o755


def test_a_root_that_cannot_be_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match=str(tmp_path / "file")):
        Layout(tmp_path / "file").prepare()
    with pytest.raises(StoreError, match="lock"):
        Layout(tmp_path / "missing").lock()


def test_a_folder_has_one_user_at_a_time_and_the_other_is_told_who(tmp_path: Path) -> None:
    fd = Layout(tmp_path).lock()
    with pytest.raises(StoreError, match=f"in use by process {os.getpid()}: "):
        Layout(tmp_path).lock()
    os.close(fd)
    os.close(Layout(tmp_path).lock())
