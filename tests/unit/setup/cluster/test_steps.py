"""A failure names its step."""

import pytest

from shoal.core.errors import SettingsError
from shoal.setup.cluster.steps import StepFailed, step


async def test_an_error_gets_the_name_of_the_innermost_step() -> None:
    with pytest.raises(StepFailed, match=r"^inner: a sentence$"):
        async with step("outer"), step("inner"):
            raise SettingsError("a sentence")


async def test_a_bug_stays_one() -> None:
    with pytest.raises(ZeroDivisionError):
        async with step("a"):
            raise ZeroDivisionError
