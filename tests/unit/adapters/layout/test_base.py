"""Image: what has to be fetched for it."""

from shoal.adapters.layout.base import Image
from shoal.core.digest import Digest
from shoal.core.oci.manifests import OCI_MANIFEST, Descriptor, Manifest
from shoal.core.reference import Reference


def test_a_blob_that_is_listed_twice_is_fetched_once() -> None:
    config, layer = (Descriptor("t", Digest("sha256", c * 64), 1) for c in "ab")
    manifest = Manifest(OCI_MANIFEST, config, (layer, layer))
    image = Image(Reference.parse("app"), manifest, Digest("sha256", "c" * 64), b"")
    assert image.blobs == (config, layer)
