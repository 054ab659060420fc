"""Ranges: what each Range header gets, and what a Content-Range may say."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shoal.core.errors import BadInput
from shoal.core.oci.ranges import (
    ByteRange,
    ContentRange,
    RangeNotSatisfiable,
    parse_content_range,
    parse_range,
)


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (None, None),
        ("", None),
        ("items=0-1", None),
        ("bytes", None),
        ("bytes=0-", ByteRange(0, 100)),
        ("bytes=0-0", ByteRange(0, 1)),
        ("bytes=10-19", ByteRange(10, 20)),
        ("Bytes= 10-19 ", ByteRange(10, 20)),
        ("bytes=99-", ByteRange(99, 100)),
        ("bytes=-1", ByteRange(99, 100)),
        ("bytes=-500", ByteRange(0, 100)),
        ("bytes=50-999999999999999999999999", ByteRange(50, 100)),
    ],
)
def test_a_range_is_cut_to_the_blob(header: str | None, expected: ByteRange | None) -> None:
    assert parse_range(header, length_bytes=100) == expected


@pytest.mark.parametrize(
    "header",
    [
        "bytes=100-",
        "bytes=-0",
        "bytes=5-2",
        "bytes=-",
        "bytes=",
        "bytes=a-b",
        "bytes=1",
        "bytes=--1",
        "bytes=+1-2",
        "bytes=0x1-2",
        "bytes=٣-٤",
        "bytes=1-2-3",
        "bytes=" + "9" * 5000 + "-",
    ],
)
def test_a_range_without_a_byte_is_answered_with_the_length(header: str) -> None:
    with pytest.raises(RangeNotSatisfiable) as caught:
        parse_range(header, length_bytes=100)
    assert caught.value.content_range == "bytes */100"


@pytest.mark.parametrize("header", ["bytes=0-1,5-6", "bytes=0-50,20-70", "bytes=" + "0-," * 1000])
def test_several_ranges_are_refused_and_not_as_unsatisfiable(header: str) -> None:
    with pytest.raises(BadInput, match="one at a time") as caught:
        parse_range(header, length_bytes=100)
    assert not isinstance(caught.value, RangeNotSatisfiable)


def test_any_range_of_an_empty_blob_is_the_whole_blob() -> None:
    assert parse_range("bytes=0-", length_bytes=0) is None


@settings(deadline=None)
@given(st.integers(1, 1 << 40), st.data())
def test_a_range_that_we_write_is_read_back(length: int, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, length - 1))
    end = data.draw(st.integers(start + 1, length))
    asked = ByteRange(start, end)
    assert parse_range(asked.header, length_bytes=length) == asked
    said = parse_content_range(asked.content_range(length))
    assert said == ContentRange(start, end, length)
    assert asked.size_bytes == end - start


@settings(deadline=None)
@given(st.text(max_size=40).map(lambda text: "bytes=" + text), st.integers(0, 1000))
def test_any_text_gives_bytes_within_the_blob(header: str, length: int) -> None:
    try:
        asked = parse_range(header, length_bytes=length)
    except BadInput:
        return
    assert asked is None or 0 <= asked.start < asked.end <= length


@pytest.mark.parametrize(
    "header",
    [
        "",
        "bytes */100",
        "bytes 5-2/100",
        "bytes 0-100/100",
        "items 0-1/2",
        "bytes 0-1",
        "bytes 0-1/-5",
        "bytes 0-" + "9" * 30 + "/*",
    ],
)
def test_an_impossible_content_range_is_bad_input(header: str) -> None:
    with pytest.raises(BadInput):
        parse_content_range(header)


def test_a_content_range_may_leave_the_length_open() -> None:
    assert parse_content_range("bytes 0-9/*") == ContentRange(0, 10, None)
