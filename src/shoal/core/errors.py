"""Errors that Shoal raises on purpose, and what a caller may do about each.

A class exists only where some caller does something different. Messages are for the operator:
what failed, on which thing, what to do.
"""

from typing import ClassVar


class ShoalError(Exception):
    """Root of every error raised on purpose; anything else that reaches main() is a bug."""

    exit_code: ClassVar[int] = 1
    retryable: ClassVar[bool] = False  # may the identical call succeed later?


class BadInput(ShoalError, ValueError):
    """What the caller gave cannot be used: a malformed digest, reference, range or message."""

    exit_code = 2


class SettingsError(BadInput):
    """A setting is unknown, malformed or contradicts another; the message names the key."""

    exit_code = 78  # EX_CONFIG of sysexits.h


class OriginError(ShoalError):
    """The registry did not give what was asked; `status` is its answer, or None if it gave none."""

    exit_code = 69  # EX_UNAVAILABLE of sysexits.h
    retryable = True

    def __init__(
        self, message: str, *, status: int | None = None, retry_after_s: float | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.retry_after_s = retry_after_s


class OriginDenied(OriginError):
    """The registry refused this credential (401 or 403): another credential may succeed."""

    exit_code = 77  # EX_NOPERM of sysexits.h
    retryable = False


class OriginLied(OriginError):
    """The registry's bytes, length or range are not what the digest or the request says."""

    retryable = False


class PeerFault(ShoalError):
    """A peer broke the protocol: drop the connection and count it against the peer."""


class StoreError(ShoalError):
    """The store cannot keep or read something; the message names the path."""


class StoreFull(StoreError):
    """There is no room for this blob: pass its bytes through without keeping them."""

    retryable = True


class TransferFailed(ShoalError):
    """A blob could not be had from peers or registry; the message says what was tried."""

    exit_code = 69
    retryable = True
