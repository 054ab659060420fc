"""Vouchers: what a node signs for together, and what it does not sign for."""

import pytest

from shoal.core import bitmap
from shoal.core.blob import MIB, BlobSpec
from shoal.core.receipts.receipt import BATCH_MOST, RENEW_BEFORE_S, Receipt
from shoal.core.receipts.vouchers import Vouchers
from shoal.testing.swarm_script import blob

NOW_S = 1.8e9
SMALL = blob(pieces=40)
LARGE = blob(size_bytes=600 * MIB)  # in pieces of 2 MiB


def hash_of(piece: int) -> bytes:
    return piece.to_bytes(32, "big")


def hashes(*pieces: int) -> dict[int, bytes]:
    return {piece: hash_of(piece) for piece in pieces}


def receipt(first: int, count: int = 1, *, left_s: float = 1e6, spec: BlobSpec = SMALL) -> Receipt:
    said = tuple(map(hash_of, range(first, first + count)))
    return Receipt(spec.tag, first, said, int(NOW_S + left_s), bytes(32), b"signed")


def batch(vouchers: Vouchers, piece: int) -> list[int]:
    first, said = vouchers.batch(piece)
    assert said == tuple(map(hash_of, range(first, first + len(said))))
    return list(range(first, first + len(said)))


def test_a_whole_blob_is_signed_for_in_batches_that_do_not_overlap() -> None:
    for spec in (SMALL, LARGE):
        vouchers = Vouchers.of_whole(spec, hashes(*range(spec.pieces)))
        seen: list[int] = []
        for piece in range(0, spec.pieces, BATCH_MOST):
            seen += batch(vouchers, min(piece + 5, spec.pieces - 1))
        assert seen == list(range(spec.pieces))


def test_of_what_was_just_fetched_what_is_at_hand_is_signed_for_together() -> None:
    vouchers = Vouchers(SMALL, hashes(3, 4, 5, 7, 8), own=bitmap.full(40))
    assert batch(vouchers, 4) == [3, 4, 5]
    assert batch(vouchers, 8) == [7, 8]


def test_neither_others_pieces_nor_those_that_were_signed_for_are_in_a_batch() -> None:
    vouchers = Vouchers(SMALL, hashes(*range(8)), own=0b1101_1111)  # 5 is somebody else's
    vouchers.keep(receipt(0, 2))
    assert batch(vouchers, 3) == [2, 3, 4]
    assert batch(vouchers, 6) == [6, 7]


def test_large_pieces_on_their_way_are_signed_for_one_by_one() -> None:
    vouchers = Vouchers(LARGE, hashes(0, 1, 2), own=0b111)
    assert batch(vouchers, 1) == [1]


@pytest.mark.parametrize(("left_s", "fresh"), [(RENEW_BEFORE_S + 9, True), (9.0, False)])
def test_a_receipt_that_ends_soon_is_signed_anew(left_s: float, fresh: bool) -> None:
    vouchers = Vouchers(SMALL)
    vouchers.keep(receipt(4, 3, left_s=left_s))
    assert [vouchers.fresh(piece, now_s=NOW_S) is not None for piece in (3, 4, 6, 7)] == [
        False,
        fresh,
        fresh,
        False,
    ]


def test_a_batch_of_what_ends_soon_begins_with_the_piece_that_is_asked_for() -> None:
    vouchers = Vouchers.of_whole(SMALL, hashes(*range(SMALL.pieces)))
    vouchers.keep(receipt(0, 16, left_s=9.0))
    assert batch(vouchers, 2) == [2]


def test_pieces_whose_receipts_a_restart_lost_are_vouched_for_by_nobody() -> None:
    vouchers = Vouchers(SMALL, hashes(0, 1, 2, 3), {2: receipt(2)}, own=0b1000)
    assert vouchers.unvouched == 0b0011
    assert Vouchers.of_whole(SMALL, hashes(0, 1)).unvouched == 0
