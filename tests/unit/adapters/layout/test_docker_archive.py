"""DockerArchive: a tar that is laid out before its bytes arrive."""

import hashlib
import json
import tarfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shoal.adapters.layout.base import Image
from shoal.adapters.layout.docker_archive import DockerArchive
from shoal.core.digest import Digest
from shoal.core.errors import BadInput
from shoal.core.oci.manifests import DOCKER_MANIFEST, Descriptor, Manifest
from shoal.core.reference import Reference

CONFIG = "application/vnd.docker.container.image.v1+json"


def descriptor(data: bytes, media_type: str = "layer") -> Descriptor:
    return Descriptor(media_type, Digest("sha256", hashlib.sha256(data).hexdigest()), len(data))


def image(config: bytes, layers: list[bytes], name: str = "app:1", kind: str = CONFIG) -> Image:
    listed = tuple(descriptor(layer) for layer in layers)
    manifest = Manifest(DOCKER_MANIFEST, descriptor(config, kind), listed)
    return Image(Reference.parse(name), manifest, Digest("sha256", "0" * 64), b"")


def write(path: Path, config: bytes, layers: list[bytes], name: str = "app:1") -> None:
    archive = DockerArchive(path)
    archive.prepare(image(config, layers, name))
    for data in reversed(list(dict.fromkeys([config, *layers]))):  # in any order
        blob = archive.begin(descriptor(data).digest, size_bytes=len(data))
        half = len(data) // 2
        blob.write(half, data[half:])
        blob.write(0, data[:half])
        assert blob.read(0, len(data)) == data
        blob.commit()
        blob.close()
    archive.finish()
    archive.close()


@given(config=st.binary(min_size=1, max_size=40), layers=st.lists(st.binary(max_size=1500)))
def test_the_tar_has_the_listing_first_and_every_blob_whole(
    tmp_path_factory: pytest.TempPathFactory, config: bytes, layers: list[bytes]
) -> None:
    layers = [layer for layer in layers if layer != config]
    path = tmp_path_factory.mktemp("archive") / "app.tar"
    write(path, config, layers)
    with tarfile.open(path) as tar:
        names = tar.getnames()
        contents = {name: tar.extractfile(name).read() for name in names}  # type: ignore[union-attr]
    assert names[0] == "manifest.json"
    (listing,) = json.loads(contents["manifest.json"])
    assert listing["RepoTags"] == ["docker.io/library/app:1"]
    assert contents[listing["Config"]] == config
    assert [contents[name] for name in listing["Layers"]] == layers
    assert len(names) == len(set(names))
    assert path.stat().st_size % tarfile.RECORDSIZE == 0


def test_the_same_image_gives_the_same_bytes(tmp_path: Path) -> None:
    write(tmp_path / "a.tar", b"{}", [b"one", b"two"])
    write(tmp_path / "b.tar", b"{}", [b"one", b"two"])
    assert (tmp_path / "a.tar").read_bytes() == (tmp_path / "b.tar").read_bytes()


def test_an_image_named_by_digest_has_no_tag(tmp_path: Path) -> None:
    write(tmp_path / "a.tar", b"{}", [], f"app@sha256:{'0' * 64}")
    with tarfile.open(tmp_path / "a.tar") as tar:
        listing = json.load(tar.extractfile("manifest.json"))  # type: ignore[arg-type]
    assert listing[0]["RepoTags"] == []


def test_until_it_is_finished_the_old_archive_stays(tmp_path: Path) -> None:
    path = tmp_path / "app.tar"
    path.write_bytes(b"old")
    archive = DockerArchive(path)
    archive.prepare(image(b"{}", [b"layer"]))
    assert not archive.holds(descriptor(b"layer").digest, size_bytes=5)
    assert path.read_bytes() == b"old"
    archive.close()
    archive.close()
    assert [it.name for it in tmp_path.iterdir()] == ["app.tar"]


def test_what_docker_could_not_load_is_refused(tmp_path: Path) -> None:
    archive = DockerArchive(tmp_path / "app.tar")
    with pytest.raises(BadInput, match="not a container image"):
        archive.prepare(image(b"{}", [], kind="application/vnd.oci.empty.v1+json"))
    left_out = frozenset({descriptor(b"far").digest})
    with pytest.raises(BadInput, match="does not hold"):
        archive.prepare(image(b"{}", [b"far"]), leaving_out=left_out)
    with pytest.raises(BadInput, match="is a folder"):
        DockerArchive(tmp_path)
    assert list(tmp_path.iterdir()) == []
