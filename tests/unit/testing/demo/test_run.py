"""What a demo checks before it begins, and what one copy of an image is."""

import shutil
import tempfile
from collections import namedtuple
from pathlib import Path

import pytest

from shoal.core.digest import Digest
from shoal.testing.demo import run as demo
from shoal.testing.demo.failures import DemoFailed
from shoal.testing.demo.run import Options, blobs_of, image_bytes
from shoal.testing.image import random_image

OPTIONS = Options(nodes=3, rate_bytes_per_s=None, json=False, keep=False)
Usage = namedtuple("Usage", "total used free")


def test_a_layer_that_an_image_has_twice_is_sent_once(tmp_path: Path) -> None:
    image = random_image(tmp_path / "image", layer_bytes=[1000, 0, 0], seed=1)
    one = image.layers[0]
    sizes = blobs_of(image)
    config = Digest.parse(image.config_digest)
    assert set(sizes) == {config, *(Digest.parse(layer.digest) for layer in image.layers)}
    assert image_bytes(image) == sum(sizes.values())
    assert sizes[Digest.parse(one.digest)] == one.size_bytes


def test_a_disk_without_room_is_told_before_anything_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(10, 5, 5))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    image = random_image(tmp_path / "image", layer_bytes=[1000], seed=1)
    with pytest.raises(DemoFailed, match=r"3 nodes need 25\.\d MB.*5 B are free: set TMPDIR"):
        demo.run(image, OPTIONS)
    assert [path.name for path in tmp_path.iterdir()] == ["image"]
