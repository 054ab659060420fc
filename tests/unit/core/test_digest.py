"""Digests: what is one, and what only looks like one."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shoal.core.digest import HEX_LENGTHS, Digest
from shoal.core.errors import BadInput

SHA256 = "sha256:" + "0a" * 32
SHA512 = "sha512:" + "0a" * 64


@pytest.mark.parametrize("text", [SHA256, SHA512])
def test_a_digest_is_spelled_as_it_was_read(text: str) -> None:
    assert str(Digest.parse(text)) == text


def test_a_digest_knows_its_algorithm() -> None:
    assert Digest.parse(SHA512) == Digest("sha512", "0a" * 64)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "sha256",
        "sha256:",
        "sha256:" + "0a" * 31,
        "sha256:" + "0a" * 33,
        "sha256:" + "0a" * 64,  # the length of the other algorithm
        "sha512:" + "0a" * 32,
        "sha256:" + "0A" * 32,
        "sha256:" + "0g" * 32,
        "SHA256:" + "0a" * 32,
        "md5:" + "0a" * 16,
        "blake3:" + "0a" * 32,
        SHA256 + "\n",
        " " + SHA256,
        SHA256 + "/../../etc/passwd",
        "sha256:../../../../etc/passwd",
        "sha256:" + "\N{FULLWIDTH DIGIT ZERO}" * 64,
    ],
)
def test_what_only_looks_like_a_digest_is_refused(text: str) -> None:
    with pytest.raises(BadInput, match="digest"):
        Digest.parse(text)


def test_the_error_quotes_only_the_beginning_of_a_long_text() -> None:
    with pytest.raises(BadInput) as caught:
        Digest.parse("x" * 1_000_000)
    assert len(str(caught.value)) < 300


@settings(deadline=None)
@given(st.text())
def test_any_text_is_a_digest_or_bad_input(text: str) -> None:
    try:
        digest = Digest.parse(text)
    except BadInput:
        return
    assert len(digest.hex) == HEX_LENGTHS[digest.algorithm]
