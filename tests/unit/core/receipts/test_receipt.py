"""Receipts: what is signed depends on all that it says, and what cannot be true is refused."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shoal.core.blob import HASH_BYTES, BlobSpec, BlobTag, ContentKind
from shoal.core.digest import Digest
from shoal.core.receipts.receipt import (
    AHEAD_MOST_S,
    LIFETIME_S,
    Receipt,
    statement,
    statement_of,
)

NOW_S = 1.8e9
SPEC = BlobSpec("registry.example", Digest("sha256", "ab" * 32), 10_000_000)
HASHES = (bytes(HASH_BYTES), bytes(range(HASH_BYTES)))
RECEIPT = Receipt(SPEC.tag, 3, HASHES, int(NOW_S + LIFETIME_S), bytes(32), b"signature")

TEXTS = st.text(max_size=20)
SAID = st.fixed_dictionaries(
    {
        "cluster": TEXTS,
        "spec": st.builds(
            BlobSpec,
            TEXTS,
            st.binary(min_size=32, max_size=32).map(lambda data: Digest("sha256", data.hex())),
            st.integers(1, 10**9),
            st.sampled_from(ContentKind),
        ),
        "first": st.integers(0, 2**32 - 1),
        "hashes": st.lists(st.binary(min_size=32, max_size=32), min_size=1, max_size=3).map(tuple),
        "expires_s": st.integers(0, 2**64 - 1),
    }
)


@given(SAID, SAID)
def test_no_two_statements_are_the_same_bytes(
    one: dict[str, object], two: dict[str, object]
) -> None:
    assert (statement(**one) == statement(**two)) == (one == two)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "other",
    [
        replace(SPEC, registry="other.example"),
        replace(SPEC, length_bytes=SPEC.length_bytes + 1),
        replace(SPEC, digest=Digest("sha256", "ac" * 32)),
        replace(SPEC, kind=ContentKind.MANIFEST),
    ],
    ids=["registry", "length", "digest", "kind"],
)
def test_a_statement_about_one_blob_is_none_about_another(other: BlobSpec) -> None:
    assert statement_of(RECEIPT, SPEC, cluster="edge") != statement_of(
        RECEIPT, other, cluster="edge"
    )


def test_a_receipt_tells_the_hashes_of_the_pieces_that_it_covers_and_no_others() -> None:
    assert [RECEIPT.hash_of(piece) for piece in range(2, 6)] == [None, *HASHES, None]


@pytest.mark.parametrize(
    ("receipt", "fault"),
    [
        (RECEIPT, None),
        (replace(RECEIPT, expires_s=int(NOW_S) - 5), "expired 5 s ago"),
        (replace(RECEIPT, expires_s=int(NOW_S + AHEAD_MOST_S) + 9), "longer than anybody vouches"),
        (replace(RECEIPT, first=SPEC.pieces - 1), "beyond the blob's 20"),
        (replace(RECEIPT, first=SPEC.pieces - 2), None),
        (replace(RECEIPT, first=2**32 - 1), "beyond the blob's 20"),
    ],
)
def test_what_cannot_be_true_is_no_receipt_whoever_signed_it(
    receipt: Receipt, fault: str | None
) -> None:
    found = receipt.fault(SPEC, now_s=NOW_S)
    assert found is None if fault is None else found is not None and fault in found


def test_a_tag_does_not_stand_for_the_blob_that_is_signed() -> None:
    # Sixteen bytes could be forged by who chooses the registry's name; the statement has it whole.
    forged = replace(RECEIPT, tag=BlobTag(bytes(16)))
    assert statement_of(forged, SPEC, cluster="edge") == statement_of(RECEIPT, SPEC, cluster="edge")
    assert SPEC.registry.encode() in statement_of(RECEIPT, SPEC, cluster="edge")
