"""How a command ends: an error of ours becomes one line on stderr and an exit code for scripts."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import typer

from shoal.core.errors import ShoalError

OK = 0
WRONG = 1  # the question was answered, and the answer is no
DATA = 65  # EX_DATAERR of sysexits.h
NOT_FOUND = 66  # EX_NOINPUT
UNAVAILABLE = 69  # EX_UNAVAILABLE
DENIED = 77  # EX_NOPERM
CONFIG = 78  # EX_CONFIG


@contextmanager
def exit_code_of_errors() -> Iterator[None]:
    """Say what failed on stderr and end with the error's exit code.

    Raises:
        typer.Exit: in place of every ShoalError.
    """
    try:
        yield
    except ShoalError as exc:
        print(f"shoal: {exc}", file=sys.stderr)
        raise typer.Exit(exc.exit_code) from exc
