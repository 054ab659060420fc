"""How fast peers gain, over all blobs that are exchanged with them."""

from shoal.core.blob import BlobTag
from shoal.core.swarm.gains import Gains
from unit.core.swarm.scripts import A, B

ONE, OTHER = BlobTag(bytes(16)), BlobTag(bytes([1]) * 16)


def test_pace_is_what_a_peer_gained_since_it_was_met() -> None:
    it = Gains()
    it.met(A, ONE, 10.0)
    it.gained(A, 600)
    assert it.pace(A, 12.0) == 300.0


def test_all_blobs_count_since_the_first_of_them() -> None:
    it = Gains()
    it.met(A, ONE, 10.0)
    it.met(A, OTHER, 11.0)
    it.gained(A, 600)
    it.gained(A, 200)
    assert it.pace(A, 12.0) == 400.0


def test_a_blob_that_is_over_counts_no_more() -> None:
    it = Gains()
    it.met(A, ONE, 10.0)
    it.met(A, OTHER, 11.0)
    it.gained(A, 600)
    it.gained(A, 200)
    it.parted(A, ONE, 600)
    assert it.pace(A, 12.0) == 200.0


def test_a_peer_that_nothing_is_exchanged_with_has_no_pace_and_is_forgotten() -> None:
    it = Gains()
    it.met(A, ONE, 10.0)
    it.parted(A, ONE, 0)
    assert it.pace(A, 12.0) == it.pace(B, 12.0) == 0.0
    assert not it.by_peer


def test_whoever_was_met_just_now_has_a_pace_too() -> None:
    it = Gains()
    it.met(A, ONE, 10.0)
    assert it.pace(A, 10.0) == 0.0
