"""The pulse: beats at once and again, and tells how late it is."""

import asyncio

import pytest

from shoal.agent.pulse import pulse


async def _pulse_for(
    beats: int, monkeypatch: pytest.MonkeyPatch, *, late_s: float
) -> tuple[int, list[float]]:
    """Run a pulse on a clock of our own, on which each sleep takes `late_s` too long."""
    loop = asyncio.get_running_loop()
    clock_s = 100.0
    count = 0
    lags_s: list[float] = []
    sleep = asyncio.sleep

    async def oversleep(delay_s: float) -> None:
        nonlocal clock_s
        clock_s += delay_s + late_s
        await sleep(0)

    def beat() -> None:
        nonlocal count
        count += 1
        if count > beats:
            raise StopIteration

    with monkeypatch.context() as patch:
        patch.setattr(asyncio, "sleep", oversleep)
        patch.setattr(loop, "time", lambda: clock_s)
        with pytest.raises(RuntimeError):  # what a coroutine makes of StopIteration
            await pulse(heartbeat=beat, lag=lags_s.append, interval_s=0.5)
    return count, lags_s


async def test_it_beats_at_once_and_tells_how_late_each_next_beat_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    count, lags_s = await _pulse_for(3, monkeypatch, late_s=0.25)
    assert count == 4
    assert lags_s == pytest.approx([0.25, 0.25, 0.25])


async def test_without_a_supervisor_it_still_measures() -> None:
    measured = asyncio.Event()
    task = asyncio.ensure_future(
        pulse(heartbeat=None, lag=lambda _: measured.set(), interval_s=0.0)
    )
    async with asyncio.timeout(30):
        await measured.wait()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
