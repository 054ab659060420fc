"""Sizes, rates and durations: the forms that are taken, and those that are refused."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shoal.core.errors import BadInput
from shoal.core.units import format_size, parse_duration, parse_rate, parse_size


@pytest.mark.parametrize(
    ("text", "size_bytes"),
    [
        ("0", 0),
        ("1024", 1024),
        ("20GiB", 20 * 2**30),
        ("20 GiB", 20 * 2**30),
        ("20Gi", 20 * 2**30),
        ("500MB", 500_000_000),
        ("500M", 500_000_000),
        ("1.5KiB", 1536),
        (" 7B ", 7),
        ("4TiB", 4 * 2**40),
        ("18446744073709551615", 2**64 - 1),
    ],
)
def test_a_size_may_have_a_decimal_or_binary_unit(text: str, size_bytes: int) -> None:
    assert parse_size(text) == size_bytes


@pytest.mark.parametrize(
    "text",
    [
        "",
        "GiB",
        "-1",
        "1e9",
        "20 gib",
        "20kiB",
        "1,5GiB",
        "20GiB/s",
        "0x10",
        "\N{ARABIC-INDIC DIGIT ONE}",
        "1" * 30,
    ],
)
def test_what_is_no_size_is_refused_with_the_form_that_was_expected(text: str) -> None:
    with pytest.raises(BadInput, match="expected a size in bytes"):
        parse_size(text)


@pytest.mark.parametrize(
    ("text", "bytes_per_s"),
    [
        ("0", 0),
        ("64000000", 64_000_000),
        ("512MB/s", 512_000_000),
        ("100Mbit/s", 12_500_000),
        ("100Mbps", 12_500_000),
        ("1Gbit/s", 125_000_000),
        ("1GiB/s", 2**30),
        ("800bit/s", 100),
    ],
)
def test_a_rate_is_told_in_bytes_or_bits(text: str, bytes_per_s: int) -> None:
    assert parse_rate(text) == bytes_per_s


@pytest.mark.parametrize("text", ["512M", "100MB", "fast", "100 Mbit", "1kiB/s"])
def test_a_rate_that_could_mean_bits_or_bytes_is_refused(text: str) -> None:
    with pytest.raises(BadInput, match="expected a rate"):
        parse_rate(text)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("30", 30.0), ("1.5", 1.5), ("500ms", 0.5), ("2m", 120.0), ("2min", 120.0), ("1h", 3600.0)],
)
def test_a_duration_may_have_a_unit(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "s", "-3", "2 weeks", "inf", "nan"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(BadInput, match="expected a time in seconds"):
        parse_duration(text)


@given(st.integers(min_value=0, max_value=2**50))
def test_a_size_that_was_written_exactly_reads_back_as_itself(size_bytes: int) -> None:
    text = format_size(size_bytes)
    if "." not in text:
        assert parse_size(text) == size_bytes
    else:
        assert parse_size(text) <= size_bytes


@given(st.text(max_size=60))
def test_any_text_gives_a_number_or_bad_input(text: str) -> None:
    for parse in (parse_size, parse_rate, parse_duration):
        with contextlib.suppress(BadInput):
            assert parse(text) >= 0
