"""The next tag of an image: one layer is new, all others are the same."""

import os
from collections.abc import Iterator
from pathlib import Path

from shoal.testing.image_layout import BuiltImage, Layer, LayoutWriter

# Of the whole image: smaller layers are configuration, not the application that changes.
CHANGED_SHARE_LEAST = 0.05
_CHUNK_BYTES = 16 << 20


def changed_layer(image: BuiltImage) -> Layer:
    """Return the layer that a next tag replaces: the smallest that is no mere trifle."""
    least = image.layer_bytes * CHANGED_SHARE_LEAST
    return min(
        (layer for layer in image.layers if layer.size_bytes >= least),
        key=lambda layer: layer.size_bytes,
    )


def next_tag(image: BuiltImage, out: Path) -> tuple[BuiltImage, Layer]:
    """Write the next tag of `image` to the folder `out`; return it and the layer that is new.

    The new layer is as long as the one that it replaces, and nobody has seen it before.
    """
    old = changed_layer(image)
    with LayoutWriter(out, level=0) as writer:
        layer = writer.layer()
        for number, data in enumerate(_random(old.size_bytes)):
            layer.add_bytes(f"srv/app/{number}.bin", data)
        new = layer.finish()
        layers = [new if kept is old else kept for kept in image.layers]
        for kept in layers:
            if kept is not new:
                path = out / image.blob(kept.digest).relative_to(image.layout)
                path.symlink_to(image.blob(kept.digest))
        built = writer.finish(
            layers,
            config={"Cmd": ["/bin/true"]},
            history=["the next tag"] * len(layers),
            image_format=image.format,
        )
    return built, new


def _random(size_bytes: int) -> Iterator[bytes]:
    for done in range(0, size_bytes, _CHUNK_BYTES):
        yield os.urandom(min(_CHUNK_BYTES, size_bytes - done))
