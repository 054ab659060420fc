"""Ends what changes files before each of its steps, as a loss of power would."""

import os
import sys
import warnings
from collections.abc import Callable, Iterator

# What the interpreter says before it changes a file system.
_CHANGES = frozenset(
    {
        "os.chmod",
        "os.chown",
        "os.link",
        "os.mkdir",
        "os.remove",
        "os.rename",
        "os.rmdir",
        "os.truncate",
        "os.utime",
    }
)
_KILLED = 77
_MOST_STEPS = 500


def killed_at_every_step(begin: Callable[[], None], work: Callable[[], object]) -> Iterator[int]:
    """Yield after each time that `work` was ended before its first, second, ... change.

    Args:
        begin: called before each time.
        work: called in a process of its own; the last time it comes to its end, and nothing is
            yielded.
    """
    for step in range(_MOST_STEPS):
        begin()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # that other threads are lost
            child = os.fork()
        if child == 0:
            _run(work, steps=step)
        _, status = os.waitpid(child, 0)
        code = os.waitstatus_to_exitcode(status)
        if code == 0:
            return
        assert code == _KILLED, f"it failed by itself at step {step}"
        yield step
    raise AssertionError(f"it takes more than {_MOST_STEPS} steps")


def _run(work: Callable[[], object], *, steps: int) -> None:
    left = steps

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal left
        makes_file = event == "open" and isinstance(arguments[2], int) and arguments[2] & os.O_CREAT
        if event in _CHANGES or makes_file:
            if left == 0:
                os._exit(_KILLED)
            left -= 1

    code = 1
    try:
        sys.addaudithook(hook)
        work()
        code = 0
    finally:
        os._exit(code)
