"""How a pull can fail, each with an exit code that scripts can tell apart."""

from shoal.core.errors import ShoalError


class DataWrong(ShoalError):
    """The bytes are not what the digest says, or the manifest is none: nothing was kept."""

    exit_code = 65  # EX_DATAERR of sysexits.h


class NotFound(ShoalError):
    """There is no such image, or none for this platform."""

    exit_code = 66  # EX_NOINPUT of sysexits.h


class Unavailable(ShoalError):
    """Neither agent nor registry gave the bytes; the same pull may succeed later."""

    exit_code = 69  # EX_UNAVAILABLE of sysexits.h
    retryable = True
