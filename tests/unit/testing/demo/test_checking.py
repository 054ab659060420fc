"""The client that hashes what it gets."""

import hashlib
import json

import pytest

from shoal.adapters.layout.base import Image
from shoal.core.digest import Digest
from shoal.core.errors import StoreError
from shoal.core.oci.manifests import OCI_MANIFEST, parse_manifest
from shoal.core.reference import Reference
from shoal.testing.demo.checking import CheckedImage

DATA = b"some bytes of a layer"
DIGEST = Digest("sha256", hashlib.sha256(DATA).hexdigest())


def image(body: bytes, digest: Digest) -> Image:
    """Return a resolved image whose manifest is `body`."""
    return Image(
        Reference.parse("registry.test/demo"), parse_manifest(body, OCI_MANIFEST), digest, body
    )


def manifest() -> bytes:
    """Return a manifest."""
    config = {"mediaType": "application/x", "digest": str(DIGEST), "size": len(DATA)}
    return json.dumps({"schemaVersion": 2, "config": config, "layers": []}).encode()


def test_a_blob_counts_once_all_of_it_was_hashed() -> None:
    checked = CheckedImage()
    blob = checked.begin(DIGEST, size_bytes=len(DATA))
    blob.write(0, DATA[:5])
    blob.write(5, DATA[5:])
    assert checked.verified == set()
    blob.commit()
    blob.close()
    assert checked.verified == {DIGEST}


@pytest.mark.parametrize("data", [DATA[:-1], DATA + b"!", DATA.upper(), b""])
def test_other_bytes_do_not_count(data: bytes) -> None:
    checked = CheckedImage()
    blob = checked.begin(DIGEST, size_bytes=len(DATA))
    blob.write(0, data)
    with pytest.raises(StoreError, match="do not have that digest"):
        blob.commit()
    assert checked.verified == set()


def test_a_download_that_begins_anew_is_hashed_anew() -> None:
    checked = CheckedImage()
    blob = checked.begin(DIGEST, size_bytes=len(DATA))
    blob.write(0, b"wrong bytes")
    blob.write(0, DATA)
    blob.commit()
    assert checked.verified == {DIGEST}


def test_bytes_that_were_left_out_are_noticed() -> None:
    blob = CheckedImage().begin(DIGEST, size_bytes=len(DATA))
    blob.write(0, DATA[:5])
    with pytest.raises(StoreError, match="goes on at 6, expected was 5"):
        blob.write(6, DATA[6:])


def test_a_manifest_counts_if_its_bytes_have_its_digest() -> None:
    body = manifest()
    right = Digest("sha256", hashlib.sha256(body).hexdigest())
    checked = CheckedImage()
    checked.prepare(image(body, DIGEST))
    assert checked.manifest is None
    checked.prepare(image(body, right))
    assert checked.manifest == right


def test_nothing_is_kept() -> None:
    checked = CheckedImage()
    blob = checked.begin(DIGEST, size_bytes=len(DATA))
    blob.write(0, DATA)
    blob.commit()
    assert not checked.holds(DIGEST, size_bytes=len(DATA))
    with pytest.raises(StoreError, match="not kept"):
        checked.read(DIGEST, size_bytes=len(DATA))
    with pytest.raises(StoreError, match="not kept"):
        blob.read(0, 1)
    checked.finish()
    checked.close()
