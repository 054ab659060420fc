"""OciLayout: what other tools find in the folder, and what an interrupted run leaves."""

import hashlib
import json
from pathlib import Path

import pytest

from shoal.adapters.layout.base import Image
from shoal.adapters.layout.oci_layout import IMAGE_NAME, REF_NAME, OciLayout
from shoal.core.digest import Digest
from shoal.core.errors import BadInput, StoreError
from shoal.core.oci.manifests import OCI_MANIFEST, Manifest, Platform
from shoal.core.reference import Reference


def digest_of(data: bytes, algorithm: str = "sha256") -> Digest:
    return Digest(algorithm, hashlib.new(algorithm, data).hexdigest())


def image(name: str = "app:1", body: bytes = b"{}", platform: Platform | None = None) -> Image:
    manifest = Manifest(OCI_MANIFEST)
    return Image(Reference.parse(name), manifest, digest_of(body), body, platform)


def put(layout: OciLayout, data: bytes, algorithm: str = "sha256") -> Digest:
    digest = digest_of(data, algorithm)
    blob = layout.begin(digest, size_bytes=len(data))
    blob.write(0, data)
    blob.commit()
    blob.close()
    return digest


def index_of(folder: Path) -> list[dict[str, object]]:
    found: list[dict[str, object]] = json.loads((folder / "index.json").read_text())["manifests"]
    return found


def add(folder: Path, what: Image) -> None:
    layout = OciLayout(folder)
    layout.prepare(what)
    layout.finish()
    layout.close()


def test_the_folder_is_what_the_specification_says(tmp_path: Path) -> None:
    layout = OciLayout(tmp_path / "out")
    what = image()
    layout.prepare(what)
    digests = [put(layout, b"layer"), put(layout, b"other", "sha512")]
    layout.finish()
    layout.close()
    files = {str(p.relative_to(tmp_path / "out")) for p in tmp_path.rglob("*") if p.is_file()}
    blobs = {f"blobs/{d.algorithm}/{d.hex}" for d in [*digests, what.digest]}
    assert files == {"oci-layout", "index.json"} | blobs
    marker = json.loads((tmp_path / "out" / "oci-layout").read_text())
    assert marker == {"imageLayoutVersion": "1.0.0"}
    (entry,) = index_of(tmp_path / "out")
    assert entry["digest"] == str(what.digest)
    assert entry["annotations"] == {REF_NAME: "1", IMAGE_NAME: "docker.io/library/app:1"}


def test_other_images_stay_and_a_moved_tag_moves(tmp_path: Path) -> None:
    add(tmp_path, image("app:1", b"{}"))
    add(tmp_path, image("app:2", b"{ }"))
    add(tmp_path, image("app:1", b"{  }"))
    digests = [entry["digest"] for entry in index_of(tmp_path)]
    assert digests == [str(digest_of(b"{ }")), str(digest_of(b"{  }"))]


def test_two_platforms_of_one_tag_are_side_by_side(tmp_path: Path) -> None:
    add(tmp_path, image(body=b"{}", platform=Platform("linux", "amd64")))
    add(tmp_path, image(body=b"{ }", platform=Platform("linux", "arm64", "v8")))
    add(tmp_path, image(body=b"{ }", platform=Platform("linux", "arm64", "v8")))
    platforms = [entry["platform"] for entry in index_of(tmp_path)]
    assert platforms == [
        {"os": "linux", "architecture": "amd64"},
        {"os": "linux", "architecture": "arm64", "variant": "v8"},
    ]


def test_a_right_blob_is_held_and_a_wrong_one_is_not(tmp_path: Path) -> None:
    layout = OciLayout(tmp_path)
    digest = put(layout, b"layer")
    assert layout.holds(digest, size_bytes=5)
    assert layout.read(digest, size_bytes=5) == b"layer"
    assert not layout.holds(digest_of(b"never"), size_bytes=5)
    (tmp_path / "blobs" / "sha256" / digest.hex).write_bytes(b"laxer")
    assert not layout.holds(digest, size_bytes=5)
    put(layout, b"layer")
    assert layout.holds(digest, size_bytes=5)
    layout.close()


def test_what_an_interrupted_run_left_is_offered_again(tmp_path: Path) -> None:
    layout = OciLayout(tmp_path)
    digest = digest_of(b"layer")
    first = layout.begin(digest, size_bytes=5)
    first.write(0, b"lay")
    first.close()
    second = layout.begin(digest, size_bytes=5)
    assert second.held_bytes == 3
    assert second.read(0, 3) == b"lay"
    second.write(3, b"er")
    second.commit()
    second.close()
    assert layout.holds(digest, size_bytes=5)
    layout.close()


def test_a_part_longer_than_the_blob_is_cut(tmp_path: Path) -> None:
    layout = OciLayout(tmp_path)
    digest = digest_of(b"lay")
    first = layout.begin(digest, size_bytes=5)
    first.write(0, b"layer")
    first.close()
    second = layout.begin(digest, size_bytes=3)
    assert second.held_bytes == 3
    second.commit()
    second.close()
    assert layout.holds(digest, size_bytes=3)
    layout.close()


def test_a_blob_of_which_nothing_came_leaves_nothing(tmp_path: Path) -> None:
    layout = OciLayout(tmp_path)
    layout.begin(digest_of(b"x"), size_bytes=1).close()
    layout.close()
    assert list((tmp_path / "blobs" / "sha256").iterdir()) == []


def test_a_folder_with_something_else_in_it_is_refused(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("")
    with pytest.raises(BadInput, match="no OCI layout"):
        OciLayout(tmp_path)
    with pytest.raises(BadInput, match="is a file"):
        OciLayout(tmp_path / "precious")


def test_two_at_once_are_refused(tmp_path: Path) -> None:
    layout = OciLayout(tmp_path)
    with pytest.raises(StoreError, match="another process"):
        OciLayout(tmp_path)
    layout.close()
    layout.close()
    OciLayout(tmp_path).close()


@pytest.mark.parametrize("text", ["{", "[]", '{"manifests": 3}'])
def test_an_index_that_is_none_is_named_and_left(tmp_path: Path, text: str) -> None:
    layout = OciLayout(tmp_path)
    (tmp_path / "index.json").write_text(text)
    layout.prepare(image())
    with pytest.raises(StoreError, match=r"index\.json"):
        layout.finish()
    layout.close()
    assert (tmp_path / "index.json").read_text() == text
