"""What can go wrong with a registry, as rules that an embedded one follows."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from shoal.core.digest import Digest


@dataclass(frozen=True, slots=True)
class Answer:
    """Answer with this status instead: 404, 429 with Retry-After, 503."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    is_early: ClassVar[bool] = True


@dataclass(frozen=True, slots=True)
class Hang:
    """Accept the request and never answer."""

    is_early: ClassVar[bool] = True


@dataclass(frozen=True, slots=True)
class Disconnect:
    """Close the connection without an answer."""

    is_early: ClassVar[bool] = True


@dataclass(frozen=True, slots=True)
class Redirect:
    """Redirect to `location`, or, if it is empty, to the same URL again and again."""

    location: str = ""
    status: int = 307
    headers: Mapping[str, str] = field(default_factory=dict)
    is_early: ClassVar[bool] = True


@dataclass(frozen=True, slots=True)
class WrongBytes:
    """Flip the bits of one byte, `at` bytes from the content's start."""

    at: int = 0
    is_early: ClassVar[bool] = False


@dataclass(frozen=True, slots=True)
class Truncate:
    """Promise the whole body, send `after_bytes` of it and close the connection."""

    after_bytes: int
    is_early: ClassVar[bool] = False


@dataclass(frozen=True, slots=True)
class Stall:
    """Send `after_bytes` of the body and then nothing, connection open."""

    after_bytes: int
    is_early: ClassVar[bool] = False


@dataclass(frozen=True, slots=True)
class Drip:
    """Send one byte of the body every `interval_s`."""

    interval_s: float = 1.0
    is_early: ClassVar[bool] = False


@dataclass(frozen=True, slots=True)
class WrongLength:
    """Send `delta_bytes` more (zeros) or fewer than there are; Content-Length agrees."""

    delta_bytes: int
    is_early: ClassVar[bool] = False


@dataclass(frozen=True, slots=True)
class Unframed:
    """Send the body chunked, without a Content-Length, with `extra_bytes` zeros at its end."""

    extra_bytes: int = 0
    is_early: ClassVar[bool] = False


@dataclass(frozen=True, slots=True)
class IgnoreRange:
    """Answer 200 and the whole content to a Range."""

    is_early: ClassVar[bool] = False


@dataclass(frozen=True, slots=True)
class WrongRange:
    """Answer a Range with 206 and the bytes `shift_bytes` further on."""

    shift_bytes: int = 1
    is_early: ClassVar[bool] = False


@dataclass(frozen=True, slots=True)
class WithHeaders:
    """Send these headers in place of the usual ones: another type, length, digest or encoding."""

    headers: Mapping[str, str]
    is_early: ClassVar[bool] = False


@dataclass(frozen=True, slots=True)
class Oversize:
    """Pad a manifest with spaces to `size_bytes`."""

    size_bytes: int = 5 * 1024 * 1024
    is_early: ClassVar[bool] = False


Fault = (
    Answer
    | Hang
    | Disconnect
    | Redirect
    | WrongBytes
    | Truncate
    | Stall
    | Drip
    | WrongLength
    | Unframed
    | IgnoreRange
    | WrongRange
    | WithHeaders
    | Oversize
)


@dataclass(slots=True)
class FaultRule:
    """A fault and the requests that it befalls; None matches anything."""

    fault: Fault
    route: str | None = None
    """`ping`, `manifests`, `blobs`, `tags`, `referrers`, `token`, or `storage`."""
    digest: Digest | None = None
    method: str | None = None
    skip: int = 0
    """So many matching requests are left alone first."""
    times: int | None = None
    """So many requests are befallen; None: all."""
    befallen: int = 0

    def befalls(self, route: str, digest: Digest | None, method: str) -> bool:
        """Whether a request is befallen, counting it if it matches."""
        if self.route not in (None, route) or self.method not in (None, method):
            return False
        if self.digest is not None and self.digest != digest:
            return False
        if self.skip > 0:
            self.skip -= 1
            return False
        if self.times is not None and self.befallen >= self.times:
            return False
        self.befallen += 1
        return True
