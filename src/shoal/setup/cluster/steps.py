"""A step of the set-up and its failure: one sentence that names the step and says what to do."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from shoal.core.errors import ShoalError


class StepFailed(ShoalError):
    """A step could not be done; the message begins with its name."""

    def __init__(self, step: str, sentence: str) -> None:
        super().__init__(f"{step}: {sentence}")


@asynccontextmanager
async def step(name: str) -> AsyncIterator[None]:
    """Name the step in whatever error of ours is raised within.

    Raises:
        StepFailed: it was.
    """
    try:
        yield
    except StepFailed:
        raise
    except ShoalError as exc:
        raise StepFailed(name, str(exc)) from exc
