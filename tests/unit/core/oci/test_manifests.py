"""Manifests: the types that are served, and bodies that lie about what they are."""

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shoal.core.errors import BadInput
from shoal.core.oci.manifests import (
    DOCKER_INDEX,
    DOCKER_MANIFEST,
    MAX_MANIFEST_BYTES,
    OCI_ARTIFACT,
    OCI_INDEX,
    OCI_MANIFEST,
    parse_manifest,
)

CONFIG = {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": "sha256:" + "c" * 64}
LAYER = {"mediaType": "application/vnd.oci.image.layer.v1.tar+gzip", "digest": "sha256:" + "1" * 64}
FOREIGN = {
    "mediaType": "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
    "digest": "sha512:" + "f" * 128,
    "size": 7,
    "urls": ["https://elsewhere.example/layer"],
}


def image(**changes: Any) -> bytes:
    document = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": CONFIG | {"size": 10},
        "layers": [LAYER | {"size": 100}, FOREIGN],
    }
    return json.dumps(document | changes).encode()


def test_an_image_lists_its_config_and_layers_in_order() -> None:
    manifest = parse_manifest(image(), OCI_MANIFEST)
    assert not manifest.is_index
    assert [(str(d.digest)[:12], d.size_bytes, d.is_foreign) for d in manifest.referenced()] == [
        ("sha256:ccccc", 10, False),
        ("sha256:11111", 100, False),
        ("sha512:fffff", 7, True),
    ]
    assert manifest.layers[1].urls == ("https://elsewhere.example/layer",)


def test_a_layer_that_names_urls_counts_as_foreign_whatever_its_type() -> None:
    body = image(layers=[LAYER | {"size": 1, "urls": ["https://a.example/"]}])
    assert parse_manifest(body, OCI_MANIFEST).layers[0].is_foreign


def test_a_docker_manifest_is_an_image_too() -> None:
    body = image(mediaType=DOCKER_MANIFEST)
    assert len(parse_manifest(body, f"{DOCKER_MANIFEST}; charset=utf-8").layers) == 2


@pytest.mark.parametrize("media_type", [OCI_INDEX, DOCKER_INDEX])
def test_an_index_lists_manifests_with_platforms(media_type: str) -> None:
    children = [
        {
            "mediaType": OCI_MANIFEST,
            "digest": "sha256:" + "a" * 64,
            "size": 500,
            "platform": {"os": "linux", "architecture": "arm64", "variant": "v8"},
        },
        {"mediaType": OCI_MANIFEST, "digest": "sha256:" + "b" * 64, "size": 501},
    ]
    body = json.dumps({"schemaVersion": 2, "manifests": children}).encode()
    manifest = parse_manifest(body, media_type)
    assert manifest.is_index
    assert [str(d.platform) for d in manifest.manifests] == ["linux/arm64/v8", "None"]
    assert manifest.referenced() == manifest.manifests
    assert manifest.manifests[0].is_manifest


def test_an_artifacts_blobs_are_its_layers_and_its_subject_proves_nothing() -> None:
    document = {
        "mediaType": OCI_ARTIFACT,
        "artifactType": "application/spdx+json",
        "blobs": [LAYER | {"size": 3}],
        "subject": {"mediaType": OCI_MANIFEST, "digest": "sha256:" + "5" * 64, "size": 4},
    }
    manifest = parse_manifest(json.dumps(document).encode(), OCI_ARTIFACT)
    assert manifest.subject is not None
    assert manifest.artifact_type == "application/spdx+json"
    assert [d.size_bytes for d in manifest.referenced()] == [3]


@pytest.mark.parametrize("vague", [None, "", "application/json", "text/plain; charset=utf-8"])
def test_a_vague_content_type_leaves_it_to_the_body(vague: str | None) -> None:
    assert parse_manifest(image(), vague).media_type == OCI_MANIFEST


@pytest.mark.parametrize(
    ("body", "media_type", "complaint"),
    [
        (b"", OCI_MANIFEST, "JSON"),
        (b"[]", OCI_MANIFEST, "object"),
        (b"[" * 100_000, OCI_MANIFEST, "JSON"),
        ("{}".encode("utf-16"), OCI_MANIFEST, "UTF-8"),
        (image(), "text/html", "not a manifest type"),
        (image(mediaType=""), None, "not a manifest type"),
        (image(), DOCKER_MANIFEST, "calls itself"),
        (image(schemaVersion=1), OCI_MANIFEST, "schemaVersion"),
        (image(manifests=[]), OCI_MANIFEST, "must not have manifests"),
        (image(mediaType=OCI_INDEX), OCI_INDEX, "must not have config, layers"),
        (b'{"schemaVersion":2}', OCI_INDEX, "no manifests"),
        (b'{"schemaVersion":2}', OCI_MANIFEST, "no config or no layers"),
        (image(layers={}), OCI_MANIFEST, "not a list"),
        (image(layers=[1]), OCI_MANIFEST, r"layers\[0\]"),
        (image(layers=[LAYER]), OCI_MANIFEST, "size"),
        (image(layers=[LAYER | {"size": -1}]), OCI_MANIFEST, "size"),
        (image(layers=[LAYER | {"size": True}]), OCI_MANIFEST, "size"),
        (image(layers=[LAYER | {"size": 1.5}]), OCI_MANIFEST, "size"),
        (image(layers=[LAYER | {"size": 1 << 60}]), OCI_MANIFEST, "size"),
        (image(layers=[{"size": 1}]), OCI_MANIFEST, "no digest"),
        (image(layers=[{"size": 1, "digest": "sha256:../../x"}]), OCI_MANIFEST, "digest"),
        (image(layers=[LAYER | {"size": 1, "urls": "x"}]), OCI_MANIFEST, "urls"),
        (image(layers=[LAYER | {"size": 1, "platform": []}]), OCI_MANIFEST, "platform"),
        (image(artifactType=5), OCI_MANIFEST, "artifactType"),
        (b" " * (MAX_MANIFEST_BYTES + 1), OCI_MANIFEST, "bytes"),
    ],
)
def test_a_wrong_manifest_is_bad_input_that_says_why(
    body: bytes, media_type: str | None, complaint: str
) -> None:
    with pytest.raises(BadInput, match=complaint):
        parse_manifest(body, media_type)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=6,
)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.dictionaries(
        st.sampled_from(["mediaType", "config", "layers", "manifests", "subject", "blobs"]),
        json_values
        | st.lists(st.fixed_dictionaries({"digest": json_values, "size": json_values}), max_size=2),
    ),
    st.sampled_from([OCI_MANIFEST, OCI_INDEX, OCI_ARTIFACT, "application/json"]),
)
def test_any_json_is_a_manifest_or_bad_input(document: dict[str, Any], media_type: str) -> None:
    body = json.dumps({"schemaVersion": 2} | document).encode()
    try:
        manifest = parse_manifest(body, media_type)
    except BadInput:
        return
    assert all(item.size_bytes >= 0 for item in manifest.referenced())
