"""Layers and layouts: readable by anyone, and the same bytes every time."""

import gzip
import hashlib
import io
import json
import tarfile
from pathlib import Path
from random import Random

import pytest

from shoal.testing.image_layout import BuiltImage, ImageFormat, LayerWriter, LayoutWriter, entry

MIB = 1 << 20


def noise(seed: int, size: int) -> bytes:
    """Bytes that cannot be compressed, always the same."""
    return Random(seed).randbytes(size)  # noqa: S311


def write(
    folder: Path, files: dict[str, bytes], *, image_format: ImageFormat = ImageFormat.OCI
) -> BuiltImage:
    with LayoutWriter(folder) as writer:
        layer = writer.layer()
        for name, data in files.items():
            layer.add_bytes(name, data)
        return writer.finish(
            [layer.finish()], config={"Cmd": ["/x"]}, history=["one"], image_format=image_format
        )


def test_a_layer_is_one_gzip_stream_of_one_tar_also_when_it_has_many_members(
    tmp_path: Path,
) -> None:
    files = {"a": noise(1, 5 * MIB), "b/c": b"", "d": b"d" * 700}
    image = write(tmp_path, files)
    (layer,) = image.layers
    compressed = image.blob(layer.digest).read_bytes()
    assert layer.size_bytes == len(compressed) == image.layer_bytes
    assert layer.digest == f"sha256:{hashlib.sha256(compressed).hexdigest()}"
    raw = gzip.decompress(compressed)
    assert layer.diff_id == f"sha256:{hashlib.sha256(raw).hexdigest()}"
    with tarfile.open(fileobj=io.BytesIO(raw)) as tar:
        members = {member.name: member for member in tar}
        read = {name: file.read() for name in members if (file := tar.extractfile(name))}
    assert read == files
    assert {(m.uid, m.gid, m.mode, m.mtime) for m in members.values()} == {(0, 0, 0o644, 0)}


def test_the_same_files_give_the_same_bytes(tmp_path: Path) -> None:
    files = {f"f{i}": noise(i, MIB) for i in range(9)}
    first, second = write(tmp_path / "1", files), write(tmp_path / "2", files)
    assert first.manifest_digest == second.manifest_digest
    assert first.layers == second.layers


@pytest.mark.parametrize("image_format", ImageFormat)
def test_manifest_config_and_index_fit_together(tmp_path: Path, image_format: ImageFormat) -> None:
    image = write(tmp_path, {"a": b"a"}, image_format=image_format)
    (descriptor,) = json.loads((tmp_path / "index.json").read_text())["manifests"]
    assert descriptor["digest"] == image.manifest_digest
    assert descriptor["mediaType"] == image.manifest_type
    manifest = json.loads(image.blob(image.manifest_digest).read_text())
    assert manifest["mediaType"] == image_format.manifest_type
    assert manifest["config"]["digest"] == image.config_digest
    assert manifest["layers"][0]["size"] == image.layers[0].size_bytes
    config = json.loads(image.blob(image.config_digest).read_text())
    assert config["rootfs"]["diff_ids"] == [image.layers[0].diff_id]
    assert config["config"] == {"Cmd": ["/x"]}


def test_an_image_is_found_again_in_its_folder(tmp_path: Path) -> None:
    assert write(tmp_path, {"a": b"a"}) == BuiltImage.load(tmp_path)


def test_a_file_that_shrank_while_it_was_read_is_filled_up(tmp_path: Path) -> None:
    with LayoutWriter(tmp_path) as writer:
        layer = writer.layer()
        info = entry("a", mode=0o600)
        info.size = 1000
        layer.add(info, io.BytesIO(b"short"))
        layer.add_bytes("b", b"after")
        done = layer.finish()
    path = tmp_path / "blobs" / done.digest.replace(":", "/")
    with tarfile.open(path) as tar:
        first, second = tar.extractfile("a"), tar.extractfile("b")
        assert first is not None
        assert first.read() == b"short" + bytes(995)
        assert second is not None
        assert second.read() == b"after"


def test_the_size_is_estimated_from_what_was_compressed_so_far(tmp_path: Path) -> None:
    def grow(layer: LayerWriter) -> int:
        for index in range(20):
            layer.add_bytes(str(index), noise(index, MIB))
        return layer.estimated_bytes

    with LayoutWriter(tmp_path) as writer:
        layers = writer.layer(), writer.layer()
        first, second = (grow(layer) for layer in layers)
        for layer in layers:
            layer.finish()
    assert first == second
    assert first == pytest.approx(20 * MIB, rel=0.01)
