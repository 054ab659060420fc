"""What the embedded registry holds, and who may read it."""

import hashlib
import json
from pathlib import Path

from shoal.core.digest import Digest
from shoal.core.oci.manifests import OCI_INDEX, OCI_MANIFEST, parse_manifest
from shoal.testing.registry_content import RegistryContent, reading


def test_a_blob_has_the_digest_of_its_bytes_wherever_they_are(tmp_path: Path) -> None:
    content = RegistryContent()
    path = tmp_path / "blob"
    path.write_bytes(b"abc")
    for algorithm in ("sha256", "sha512"):
        expected = Digest(algorithm, hashlib.new(algorithm, b"abc").hexdigest())
        assert content.add_blob(b"abc", algorithm=algorithm) == expected
        assert content.add_blob(path, algorithm=algorithm) == expected
        assert content.blob("a", expected) is None
        content.add_blob(path, repository="a", algorithm=algorithm)
        assert content.blob("a", expected) == path


def test_a_manifest_links_what_it_lists_but_nothing_foreign() -> None:
    content = RegistryContent()
    foreign = content.add_blob(b"foreign")
    layer = content.add_blob(b"layer")
    document = {
        "schemaVersion": 2,
        "config": {"digest": str(content.add_blob(b"{}")), "size": 2},
        "layers": [
            {"digest": str(layer), "size": 5},
            {"digest": str(foreign), "size": 7, "urls": ["https://elsewhere.example/"]},
        ],
    }
    digest = content.add_manifest("a", "1", json.dumps(document).encode())
    assert content.manifest("a", "1") == content.manifest("a", digest)
    assert content.blob("a", layer) == b"layer"
    assert content.blob("a", foreign) is None
    assert content.manifest("b", "1") is None
    assert content.manifest("a", "2") is None


def test_a_body_that_is_no_manifest_is_held_as_well() -> None:
    content = RegistryContent()
    digest = content.add_manifest("a", "bad", b"not json")
    found = content.manifest("a", "bad")
    assert found is not None
    assert (found[0], found[1].body) == (digest, b"not json")
    assert json.loads(content.referrers("a", digest))["manifests"] == []


def test_a_layout_is_served_from_its_files_index_and_all(tmp_path: Path) -> None:
    source = RegistryContent()
    image = source.add_image("a", "1", [b"layer"])
    body = source.repositories["a"].manifests[image].body
    child = {"mediaType": OCI_MANIFEST, "digest": str(image), "size": len(body)}
    index = json.dumps({"schemaVersion": 2, "manifests": [child]}).encode()
    blobs = tmp_path / "blobs" / "sha256"
    blobs.mkdir(parents=True)
    index_digest = Digest("sha256", hashlib.sha256(index).hexdigest())
    for data in (index, body, b"layer", b"{}"):
        (blobs / hashlib.sha256(data).hexdigest()).write_bytes(data)
    entry = {"mediaType": OCI_INDEX, "digest": str(index_digest), "size": len(index)}
    (tmp_path / "index.json").write_text(json.dumps({"manifests": [entry]}))

    content = RegistryContent()
    assert content.add_layout(tmp_path, repository="b", tag="2") == index_digest
    assert content.manifest("b", image) is not None
    (layer,) = parse_manifest(body, OCI_MANIFEST).layers
    held = content.blob("b", layer.digest)
    assert isinstance(held, Path)
    with reading(held) as (file, length_bytes):
        assert not isinstance(file, memoryview)
        assert (file.read(), length_bytes) == (b"layer", 5)
