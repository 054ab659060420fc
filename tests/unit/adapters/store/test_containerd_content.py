"""containerd's content store is read and never written."""

import os
from pathlib import Path

import pytest

from shoal.adapters.store.containerd_content import ContainerdContent
from shoal.core.digest import Digest
from shoal.core.errors import BadInput, StoreError
from shoal.testing.conformance_store import Sample, read


@pytest.fixture
def blobs(tmp_path: Path) -> Path:
    folder = tmp_path / "containerd" / "io.containerd.content.v1.content" / "blobs"
    (folder / "sha256").mkdir(parents=True)
    return folder


def test_a_blob_of_containerd_is_opened_and_outlives_its_deletion(blobs: Path) -> None:
    sample = Sample()
    path = blobs / "sha256" / sample.digest.hex
    path.write_bytes(sample.content)
    path.chmod(0o444)
    blob = ContainerdContent(blobs.parents[1]).open(sample.digest)
    assert blob is not None
    path.unlink()
    assert blob.length_bytes == len(sample.content)
    assert read(blob, len(sample.content)) == sample.content
    blob.close()
    assert ContainerdContent(blobs.parents[1]).open(sample.digest) is None


def test_the_blobs_folder_alone_will_do(blobs: Path) -> None:
    sample = Sample(0)
    (blobs / "sha256" / sample.digest.hex).touch()
    blob = ContainerdContent(blobs).open(sample.digest)
    assert blob is not None
    assert blob.length_bytes == 0
    blob.close()


def test_only_blobs_are_listed(blobs: Path) -> None:
    sample, wide = Sample(), Sample(algorithm="sha512")
    (blobs / "sha256" / sample.digest.hex).write_bytes(sample.content)
    (blobs / "sha256" / "README").touch()
    (blobs / "sha256" / ("0" * 64)).mkdir()
    (blobs / "sha256" / ("1" * 64)).symlink_to("/etc/passwd")
    assert list(ContainerdContent(blobs).digests()) == [(sample.digest, len(sample.content))]
    (blobs / "sha512").mkdir()
    (blobs / "sha512" / wide.digest.hex).write_bytes(wide.content)
    assert len(list(ContainerdContent(blobs).digests())) == 2


def test_no_containerd_is_an_empty_store(tmp_path: Path) -> None:
    content = ContainerdContent(tmp_path / "nothing")
    assert content.open(Sample().digest) is None
    assert list(content.digests()) == []


def test_what_is_no_file_is_no_blob(blobs: Path) -> None:
    content = ContainerdContent(blobs)
    pipe, folder = Digest.parse("sha256:" + "a" * 64), Digest.parse("sha256:" + "b" * 64)
    os.mkfifo(blobs / "sha256" / pipe.hex)
    (blobs / "sha256" / folder.hex).mkdir()
    assert content.open(pipe) is None
    assert content.open(folder) is None


def test_a_link_and_a_digest_that_leave_the_folder_are_refused(blobs: Path) -> None:
    content = ContainerdContent(blobs)
    link = Digest.parse("sha256:" + "c" * 64)
    (blobs / "sha256" / link.hex).symlink_to("/etc/passwd")
    with pytest.raises(StoreError, match=link.hex):
        content.open(link)
    with pytest.raises(BadInput):
        content.open(Digest("sha256", "../../../../etc/passwd"))


def test_a_blobs_folder_that_is_a_file_is_reported_when_listed(blobs: Path) -> None:
    (blobs / "sha512").touch()
    with pytest.raises(StoreError, match="sha512"):
        ContainerdContent(blobs).digests()
    assert ContainerdContent(blobs).open(Sample(algorithm="sha512").digest) is None
