"""Trying again: what passes, what does not, and when to stop."""

import asyncio

import pytest

from shoal.adapters.kube.api import KubeError, KubeRefused
from shoal.adapters.kube.patience import persist


class Failing:
    """Work that fails a few times."""

    def __init__(self, *errors: KubeError) -> None:
        """Fail with each of `errors`, then succeed."""
        self._errors = list(errors)
        self.tries = 0

    async def __call__(self) -> str:
        """Try."""
        self.tries += 1
        if self._errors:
            raise self._errors.pop(0)
        return "done"


async def test_what_passes_is_tried_again() -> None:
    work = Failing(KubeError("503"), KubeError("429"))
    assert await persist(work, limit_s=30, first_pause_s=0.001) == "done"
    assert work.tries == 3


async def test_what_does_not_pass_is_not() -> None:
    work = Failing(KubeRefused("403"))
    with pytest.raises(KubeRefused):
        await persist(work, limit_s=30)
    assert work.tries == 1


async def test_no_try_begins_after_the_limit() -> None:
    work = Failing(*(KubeError("503") for _ in range(100)))
    with pytest.raises(KubeError):
        await persist(work, limit_s=0.1, first_pause_s=0.01, jitter=lambda: 1.0)
    assert 1 <= work.tries <= 4  # after 0, 0.01, 0.03 and 0.07 s


async def test_the_server_s_own_pause_is_kept() -> None:
    work = Failing(KubeError("429", retry_after_s=0.2))
    now_s = asyncio.get_running_loop().time
    began_s = now_s()
    await persist(work, limit_s=30, first_pause_s=0.001)
    assert now_s() - began_s >= 0.2
