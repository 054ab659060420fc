"""Byte ranges of RFC 9110 section 14, asked and answered.

What is answered to an odd Range, and why:

| Range | answer | reason |
|---|---|---|
| none, or a unit other than bytes | 200, whole | RFC 9110 14.2: an unknown unit is ignored |
| one range that overlaps the blob | 206, cut to the blob's end | |
| one that begins at or after the end, or `bytes=-0` | 416 with `bytes */N` | RFC 9110 15.5.17 |
| malformed, or last before first | 416 with `bytes */N` | as nginx does; silence would hide a bug |
| any range of an empty blob | 200, empty | as Go's net/http does; `bytes=0-` is a usual first ask |
| several ranges, overlapping or not | 400 | as Google's storage does: lazy image readers then ask \
one range at a time, where a 200 would send them the whole blob |
"""

import re
from dataclasses import dataclass

from shoal.core.errors import BadInput

# Two 64-bit numbers and the words around them need 50; what is longer is not one range.
_MAX_RANGE_CHARACTERS = 128
_ONE_RANGE = re.compile(r"(?P<first>[0-9]*)-(?P<last>[0-9]*)", re.ASCII)
_CONTENT_RANGE = re.compile(
    r"bytes\s+(?P<first>[0-9]{1,19})-(?P<last>[0-9]{1,19})/(?P<length>[0-9]{1,19}|\*)",
    re.ASCII | re.IGNORECASE,
)


class RangeNotSatisfiable(BadInput):
    """No byte of the blob lies in the range: answer 416 with `content_range`."""

    def __init__(self, message: str, *, length_bytes: int) -> None:
        super().__init__(message)
        self.content_range = f"bytes */{length_bytes}"


@dataclass(frozen=True, slots=True)
class ByteRange:
    """Bytes [start, end) of a blob."""

    start: int
    end: int

    @property
    def size_bytes(self) -> int:
        """Number of bytes."""
        return self.end - self.start

    @property
    def header(self) -> str:
        """The value of a `Range` header that asks for these bytes."""
        return f"bytes={self.start}-{self.end - 1}"

    def content_range(self, length_bytes: int) -> str:
        """Return the value of the `Content-Range` header for a blob of `length_bytes`."""
        return f"bytes {self.start}-{self.end - 1}/{length_bytes}"


@dataclass(frozen=True, slots=True)
class ContentRange:
    """What a 206 says it holds: bytes [start, end) of `length_bytes`, None if it did not say."""

    start: int
    end: int
    length_bytes: int | None


def parse_range(header: str | None, *, length_bytes: int) -> ByteRange | None:
    """Return the bytes that a `Range` header asks for, or None for the whole blob.

    The module's table says what each odd one becomes.

    Raises:
        RangeNotSatisfiable: answer 416.
        BadInput: several ranges: answer 400.
    """
    if header is None or length_bytes == 0:
        return None
    unit, equals, spec = header.partition("=")
    if not equals or unit.strip().lower() != "bytes":
        return None
    if "," in spec:
        raise BadInput(f"several ranges in one request: {header[:160]!r}; ask for one at a time")
    match = _ONE_RANGE.fullmatch(spec.strip()) if len(spec) <= _MAX_RANGE_CHARACTERS else None
    if match is None or (not match["first"] and not match["last"]):
        raise RangeNotSatisfiable(f"malformed range {header[:160]!r}", length_bytes=length_bytes)
    if not match["first"]:
        start, end = max(0, length_bytes - int(match["last"])), length_bytes
    else:
        start = int(match["first"])
        end = min(length_bytes, int(match["last"]) + 1) if match["last"] else length_bytes
    if start >= end:
        raise RangeNotSatisfiable(
            f"range {header[:160]!r} holds no byte of {length_bytes}", length_bytes=length_bytes
        )
    return ByteRange(start, end)


def parse_content_range(header: str) -> ContentRange:
    """Return what a 206's `Content-Range` says.

    Raises:
        BadInput: malformed, of another unit, or last byte before the first or beyond the length.
    """
    match = _CONTENT_RANGE.fullmatch(header.strip()) if len(header) <= 128 else None
    if match is None:
        raise BadInput(f"malformed Content-Range {header[:160]!r}")
    start, end = int(match["first"]), int(match["last"]) + 1
    length_bytes = None if match["length"] == "*" else int(match["length"])
    if start >= end or (length_bytes is not None and end > length_bytes):
        raise BadInput(f"impossible Content-Range {header[:160]!r}")
    return ContentRange(start, end, length_bytes)
