"""Images that nobody has pulled yet, pushed to the bed's registry: one or more for each test.

A fresh image each time, because containerd never fetches again what it holds in any namespace.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from shoal.testing.bed.registry import Registry
from shoal.testing.bed.traffic import Door
from shoal.testing.image import random_image
from shoal.testing.image_layout import BuiltImage, ImageFormat

# Three layers: one far smaller than a piece, one of about a piece, one of several.
LAYER_BYTES = (1024, 300_000, 3 << 20)


@dataclass(frozen=True, slots=True)
class Pushed:
    """An image that the bed's registry holds."""

    image: BuiltImage
    repository: str
    tag: str
    registry: Registry

    def reference(self, door: Door = Door.OPEN) -> str:
        """Return the image's reference through one of the registry's doors."""
        return self.registry.reference(self.repository, self.tag, door=door)

    @property
    def copies(self) -> float:
        """How many copies of it the registry has sent so far, once it sends no more."""
        self.registry.settle()
        return self.registry.copies(self.image)


class FreshImages:
    """Makes fresh images and pushes them."""

    def __init__(self, registry: Registry, *, folder: Path) -> None:
        self._registry = registry
        self._folder = folder
        self._made = 0

    def __call__(
        self,
        *,
        layer_bytes: tuple[int, ...] = LAYER_BYTES,
        repository: str = "library/fresh",
        image_format: ImageFormat = ImageFormat.OCI,
        fits: Callable[[BuiltImage], bool] = lambda _: True,
    ) -> Pushed:
        """Make one of layers of about these sizes that `fits`; its tag is taken from its digest."""
        while True:
            self._made += 1
            folder = self._folder / f"image-{self._made}"
            image = random_image(folder, layer_bytes=layer_bytes, image_format=image_format)
            if fits(image):
                break
        tag = image.manifest_digest[7:19]
        self._registry.push(image, repository=repository, tag=tag)
        return Pushed(image, repository, tag, self._registry)
