"""RecentImages: the first request for a blob of an image starts all of them, once."""

from hypothesis import given
from hypothesis import strategies as st

from shoal.core.digest import Digest
from shoal.core.oci.content import MAX_BLOBS_AHEAD, RecentImages
from shoal.core.oci.manifests import OCI_INDEX, OCI_MANIFEST, Descriptor, Manifest

LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
FOREIGN = "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip"


def digest(number: int) -> Digest:
    return Digest("sha256", f"{number:064x}")


def blob(number: int, media_type: str = LAYER) -> Descriptor:
    return Descriptor(media_type, digest(number), 100 + number)


def image(*layers: int) -> Manifest:
    return Manifest(OCI_MANIFEST, blob(0), tuple(blob(n) for n in layers))


def started(images: RecentImages, owner: str, number: int) -> list[int]:
    return [int(found.digest.hex, 16) for found in images.start(owner, digest(number))]


def test_the_first_blob_starts_all_in_the_manifests_order_and_no_other_does() -> None:
    images = RecentImages()
    images.seen("alice", digest(99), image(3, 1, 2))
    assert started(images, "alice", 2) == [0, 3, 1, 2]
    assert started(images, "alice", 1) == []


def test_a_manifest_that_is_read_again_may_be_started_again() -> None:
    images = RecentImages()
    images.seen("alice", digest(99), image(1))
    assert started(images, "alice", 1) == [0, 1]
    images.seen("alice", digest(99), image(1))
    assert started(images, "alice", 0) == [0, 1]


def test_what_one_has_read_is_not_started_for_another() -> None:
    images = RecentImages()
    images.seen("alice", digest(99), image(1))
    assert started(images, "bob", 1) == []


def test_an_index_starts_nothing() -> None:
    images = RecentImages()
    images.seen("alice", digest(99), Manifest(OCI_INDEX, manifests=(blob(1, OCI_MANIFEST),)))
    assert started(images, "alice", 1) == []
    assert len(images) == 0


def test_foreign_layers_are_left_out_and_a_layer_that_is_listed_twice_comes_once() -> None:
    images = RecentImages()
    layers = (blob(1), blob(2, FOREIGN), blob(1), blob(3))
    images.seen("alice", digest(99), Manifest(OCI_MANIFEST, blob(0), layers))
    assert started(images, "alice", 3) == [0, 1, 3]


def test_a_shared_layer_means_the_image_that_was_read_last() -> None:
    images = RecentImages()
    images.seen("alice", digest(98), image(1, 2))
    images.seen("alice", digest(99), image(1, 3))
    assert started(images, "alice", 1) == [0, 1, 3]
    assert started(images, "alice", 2) == [0, 1, 2]


def test_a_manifest_of_thousands_of_blobs_is_bounded() -> None:
    images = RecentImages()
    images.seen("alice", digest(99_999), image(*range(1, 5000)))
    assert len(started(images, "alice", 1)) == MAX_BLOBS_AHEAD
    assert started(images, "alice", 4000) == []


@given(
    st.lists(
        st.tuples(
            st.sampled_from("ab"), st.integers(90, 95), st.lists(st.integers(1, 5), max_size=4)
        ),
        max_size=30,
    )
)
def test_any_sequence_keeps_the_bounds(events: list[tuple[str, int, list[int]]]) -> None:
    images = RecentImages(max_images=3)
    for owner, manifest, layers in events:
        images.seen(owner, digest(manifest), image(*layers))
        images.check()
