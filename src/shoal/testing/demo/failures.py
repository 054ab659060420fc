"""How a demo fails."""

from shoal.core.errors import ShoalError


class DemoFailed(ShoalError):
    """A part of the demo did not do what it should; the message says which, and shows its log."""


class AddressTaken(DemoFailed):
    """Somebody else listens where a part of the demo wanted to: other addresses may do."""

    retryable = True
