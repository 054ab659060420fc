"""The next tag of an image shares all layers but one."""

import json
from pathlib import Path

from bench.next_tag import changed_layer, next_tag
from shoal.testing.image import random_image
from shoal.testing.image_layout import BuiltImage


def test_one_layer_is_new_and_as_long_and_the_smallest_that_matters(tmp_path: Path) -> None:
    image = random_image(tmp_path / "first", layer_bytes=[300_000, 900_000, 500, 90_000], seed=1)
    old = image.layers[3]
    assert changed_layer(image) == old
    built, new = next_tag(image, tmp_path / "next")
    assert [layer.digest for layer in built.layers] == [
        *(layer.digest for layer in image.layers[:3]),
        new.digest,
    ]
    assert new.digest != old.digest
    assert abs(new.size_bytes - old.size_bytes) < 4096
    again, other = next_tag(image, tmp_path / "other")
    assert other.digest != new.digest
    assert again.manifest_digest != built.manifest_digest


def test_it_is_a_whole_image(tmp_path: Path) -> None:
    image = random_image(tmp_path / "first", layer_bytes=[300_000, 900_000], seed=1)
    built, _ = next_tag(image, tmp_path / "next")
    assert BuiltImage.load(tmp_path / "next") == built
    manifest = json.loads(built.blob(built.manifest_digest).read_text())
    for blob in (manifest["config"], *manifest["layers"]):
        assert built.blob(blob["digest"]).stat().st_size == blob["size"]
