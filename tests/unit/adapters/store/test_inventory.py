"""What a disk store finds when it starts, and what it clears away."""

import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from shoal.adapters.store.inventory import Found, take_inventory
from shoal.adapters.store.layout import Layout
from shoal.adapters.store.piece_map import PieceMap
from shoal.core.blob import BlobSpec, BlobTag
from shoal.core.digest import Digest
from shoal.core.errors import StoreError

ONE, TWO = (Digest.parse("sha256:" + digit * 64) for digit in "12")
SPEC = BlobSpec("registry.example", ONE, 1000)
DAY_S = 24 * 3600.0


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    layout = Layout(tmp_path)
    layout.prepare()
    return layout


def put_blob(layout: Layout, digest: Digest, size_bytes: int, *, used_s: int = 0) -> Path:
    path = layout.prepare_for(digest)
    path.write_bytes(bytes(size_bytes))
    os.utime(path, (used_s, used_s))
    return path


def put_partial(layout: Layout, spec: BlobSpec) -> None:
    PieceMap.create(layout.map(spec.tag), spec).close()
    layout.data(spec.tag).write_bytes(bytes(spec.length_bytes))


def inventory(
    layout: Layout, lengths: Mapping[Digest, int] | None = None, *, stale_after_s: float = DAY_S
) -> list[Found]:
    return take_inventory(layout, lengths=lengths or {}, stale_after_s=stale_after_s)


def test_an_empty_folder_has_nothing(layout: Layout) -> None:
    assert inventory(layout) == []


def test_blobs_are_found_longest_unused_first(layout: Layout) -> None:
    put_blob(layout, ONE, 10, used_s=200)
    put_blob(layout, TWO, 20, used_s=100)
    assert inventory(layout, {ONE: 10, TWO: 20}) == [
        Found(TWO, 20, 100 * 10**9, proven=True),
        Found(ONE, 10, 200 * 10**9, proven=True),
    ]


def test_a_blob_without_a_recorded_length_is_found_but_not_proven(layout: Layout) -> None:
    put_blob(layout, ONE, 10)
    assert [(item.key, item.proven) for item in inventory(layout)] == [(ONE, False)]


def test_a_blob_that_is_not_as_long_as_recorded_is_removed(layout: Layout) -> None:
    path = put_blob(layout, ONE, 9)
    assert inventory(layout, {ONE: 10}) == []
    assert not path.exists()


def test_a_recorded_blob_that_is_gone_is_gone(layout: Layout) -> None:
    assert inventory(layout, {ONE: 10}) == []


def test_a_partial_blob_is_found_at_its_full_length(layout: Layout) -> None:
    put_partial(layout, SPEC)
    found = inventory(layout)
    assert [(item.key, item.size_bytes) for item in found] == [(SPEC.tag, 1000)]


def test_a_stale_partial_blob_is_removed_with_its_map(layout: Layout) -> None:
    put_partial(layout, SPEC)
    os.utime(layout.data(SPEC.tag), (1, 1))
    assert inventory(layout) == []
    assert list(layout.partials.iterdir()) == []


def test_half_a_partial_blob_is_removed(layout: Layout) -> None:
    other = BlobSpec("other.example", ONE, 1000)
    put_partial(layout, SPEC)
    put_partial(layout, other)
    layout.map(SPEC.tag).unlink()
    layout.data(other.tag).unlink()
    assert inventory(layout) == []
    assert list(layout.partials.iterdir()) == []


@pytest.mark.parametrize("damage", ["data", "map"])
def test_a_partial_blob_that_is_cut_short_is_removed(layout: Layout, damage: str) -> None:
    put_partial(layout, SPEC)
    path = layout.data(SPEC.tag) if damage == "data" else layout.map(SPEC.tag)
    path.write_bytes(path.read_bytes()[:999])
    assert inventory(layout) == []
    assert list(layout.partials.iterdir()) == []


def test_a_map_of_another_blob_does_not_lend_its_pieces(layout: Layout) -> None:
    put_partial(layout, SPEC)
    other = BlobTag(bytes(16))
    layout.map(SPEC.tag).rename(layout.map(other))
    layout.data(SPEC.tag).rename(layout.data(other))
    assert inventory(layout) == []


def test_files_of_others_are_left_alone(layout: Layout) -> None:
    strangers = [
        layout.blobs / "sha256" / "README",
        layout.blobs / "sha256" / "11" / "README",
        layout.blobs / "sha256" / "22" / ONE.hex,  # in the wrong folder
        layout.partials / "README",
        layout.partials / "x.data",
        layout.partials / f"{'z' * 32}.map",
    ]
    for path in strangers:
        path.parent.mkdir(exist_ok=True)
        path.write_text("hands off")
    link = layout.prepare_for(TWO)
    link.symlink_to("/etc/passwd")
    assert inventory(layout) == []
    assert all(path.read_text() == "hands off" for path in strangers)
    assert link.is_symlink()


def test_a_folder_that_cannot_be_read_is_named(layout: Layout) -> None:
    layout.partials.rmdir()
    with pytest.raises(StoreError, match="partial"):
        inventory(layout)
