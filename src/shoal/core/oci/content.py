"""Which image a blob belongs to: the first request for one of its blobs starts them all.

Only the blobs that may be asked for ahead are given to this index: no index's children, no foreign
layers. Looking at a manifest alone fetches nothing.
"""

from collections import OrderedDict
from collections.abc import Hashable

from shoal.core.digest import Digest
from shoal.core.oci.manifests import Descriptor, Manifest

# Images whose manifest was seen and whose blobs nobody has asked for yet. A node starts tens of
# pods at once, not hundreds.
MAX_IMAGES = 256
# A manifest of 4 MiB can list twenty thousand blobs; starting more than these at once helps nobody.
MAX_BLOBS_AHEAD = 512


_Blobs = dict[Digest, Descriptor]


class RecentImages:
    """The images whose manifest somebody has just read, for each who reads (`owner`).

    An image that was begun is forgotten: its blobs start nothing more until its manifest is read
    again.
    """

    def __init__(self, *, max_images: int = MAX_IMAGES) -> None:
        self._max_images = max_images
        self._images: OrderedDict[tuple[Hashable, Digest], _Blobs] = OrderedDict()
        # Several images may share a base layer: the one seen last is the one being pulled.
        self._image_of: dict[tuple[Hashable, Digest], Digest] = {}

    def __len__(self) -> int:
        return len(self._images)

    def seen(self, owner: Hashable, digest: Digest, manifest: Manifest) -> None:
        """`owner` has read the manifest `digest`; an image read again may be started again."""
        if manifest.is_index:
            return
        blobs: _Blobs = {}
        for listed in manifest.referenced():
            if not listed.is_foreign and not listed.is_manifest and len(blobs) < MAX_BLOBS_AHEAD:
                blobs.setdefault(listed.digest, listed)
        self._forget(owner, digest)
        self._images[owner, digest] = blobs
        for blob in blobs:
            self._image_of[owner, blob] = digest
        while len(self._images) > self._max_images:
            self._forget(*next(iter(self._images)))

    def start(self, owner: Hashable, blob: Digest) -> tuple[Descriptor, ...]:
        """`owner` asks for `blob`: return the blobs of its image, in order, the first time only."""
        digest = self._image_of.get((owner, blob))
        return tuple(self._forget(owner, digest).values()) if digest is not None else ()

    def _forget(self, owner: Hashable, digest: Digest) -> _Blobs:
        blobs = self._images.pop((owner, digest), {})
        for blob in blobs:
            if self._image_of.get((owner, blob)) == digest:
                del self._image_of[owner, blob]
        return blobs

    def check(self) -> None:
        """Assert the invariants; tests call this after every event."""
        assert len(self._images) <= self._max_images
        for (owner, blob), digest in self._image_of.items():
            assert blob in self._images[owner, digest]
