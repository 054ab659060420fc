"""Who does the work: the loop while the disk is quick, threads when it is slow."""

import asyncio
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from shoal.agent import workers as workers_module
from shoal.agent.workers import Workers
from unit.agent.driving import until

pytestmark = pytest.mark.usefixtures("leaves_nothing")


@contextmanager
def working(threads: int = 2) -> Iterator[Workers]:
    workers = Workers(threads)
    try:
        yield workers
    finally:
        workers.stop()


class Ear:
    """Hears what work came to, and on which thread."""

    def __init__(self) -> None:
        self.heard: list[tuple[Any, BaseException | None]] = []

    def told(self, result: object, error: BaseException | None) -> None:
        """Hear."""
        assert threading.current_thread() is threading.main_thread()
        self.heard.append((result, error))


async def test_short_work_is_done_at_once_on_the_loop() -> None:
    ear = Ear()
    with working() as workers:
        workers.do(threading.current_thread, told=ear.told)
        assert ear.heard == [(threading.main_thread(), None)]


async def test_submitted_work_is_done_by_a_thread_and_told_on_the_loop() -> None:
    ear = Ear()
    with working() as workers:
        workers.submit(threading.current_thread, told=ear.told)
        await until(lambda: bool(ear.heard))
        ((thread, error),) = ear.heard
        assert thread.name.startswith("shoal worker")
        assert error is None


async def test_after_slow_work_threads_do_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers_module, "SLOW_S", 0.01)
    slow, next_one = Ear(), Ear()
    with working() as workers:
        workers.do(time.sleep, 0.02, told=slow.told)
        assert slow.heard == [(None, None)], "that one the loop still did"
        workers.do(threading.current_thread, told=next_one.told)
        assert next_one.heard == []
        await until(lambda: bool(next_one.heard))
        assert next_one.heard[0][0] is not threading.main_thread()


async def test_after_a_while_the_loop_tries_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers_module, "SLOW_S", 0.01)
    monkeypatch.setattr(workers_module, "SLOW_FOR_S", 0.01)
    ear = Ear()
    with working() as workers:
        workers.do(time.sleep, 0.02, told=ear.told)
        await asyncio.sleep(0.02)
        workers.do(threading.current_thread, told=ear.told)
        assert ear.heard[1:] == [(threading.main_thread(), None)]


async def test_work_that_fails_tells_what_it_raised() -> None:
    ear = Ear()

    def fail() -> None:
        raise OSError("no such disk")

    with working() as workers:
        workers.do(fail, told=ear.told)
        workers.submit(fail, told=ear.told)
        await until(lambda: len(ear.heard) == 2)
        assert [str(error) for _, error in ear.heard] == ["no such disk"] * 2


async def test_running_work_returns_or_raises_what_it_does() -> None:
    with working() as workers:
        assert await workers.run(divmod, 7, 2) == (3, 1)
        with pytest.raises(ZeroDivisionError):
            await workers.run(divmod, 7, 0)


@pytest.mark.parametrize("is_done", [False, True], ids=["at-work", "just-done"])
async def test_what_nobody_waits_for_any_more_goes_to_whoever_tidies_up(is_done: bool) -> None:
    gate, done = threading.Event(), threading.Event()
    unwanted: list[str] = []

    def work() -> str:
        gate.wait(30.0)
        done.set()
        return "a file, say"

    with working() as workers:
        waiting = asyncio.ensure_future(workers.run(work, unwanted=unwanted.append))
        await asyncio.sleep(0)
        if is_done:
            gate.set()
            done.wait(30.0)
            await asyncio.sleep(0)
        waiting.cancel()
        gate.set()
        await asyncio.wait([waiting])
        await workers.run(int)
        if waiting.cancelled():
            await until(lambda: unwanted == ["a file, say"])
        else:
            assert waiting.result() == "a file, say"
            assert unwanted == []


async def test_errors_that_nobody_waits_for_are_forgotten() -> None:
    unwanted: list[object] = []
    with working(1) as workers:
        waiting = asyncio.ensure_future(workers.run(int, "no number", unwanted=unwanted.append))
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.wait([waiting])
        await workers.run(int)
        assert unwanted == []


async def test_jobs_of_one_thread_are_done_and_told_in_order() -> None:
    ear = Ear()
    with working(1) as workers:
        for n in range(1000):
            workers.submit(int, n, told=ear.told)
        await until(lambda: len(ear.heard) == 1000)
        assert [result for result, _ in ear.heard] == list(range(1000))


async def test_every_job_of_many_threads_is_told_once() -> None:
    ear = Ear()
    with working(4) as workers:
        for n in range(2000):
            workers.submit(int, n, told=ear.told)
        await until(lambda: len(ear.heard) >= 2000)
        assert sorted(result for result, _ in ear.heard) == list(range(2000))


async def test_one_who_fails_when_told_keeps_nobody_else_from_hearing() -> None:
    ear, gate = Ear(), threading.Event()
    reported: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context))

    def stumble(result: object, error: BaseException | None) -> None:
        raise ValueError("not what I expected")

    with working(1) as workers:
        workers.submit(gate.wait, told=ear.told)
        workers.submit(int, told=stumble)
        workers.submit(int, told=ear.told)
        gate.set()
        await until(lambda: len(ear.heard) == 2)
    assert [str(context["exception"]) for context in reported] == ["not what I expected"]


async def test_buffers_are_released_when_the_work_is_done_not_at_the_next_job() -> None:
    buffer = bytearray(10)
    view = memoryview(buffer)
    with working(1) as workers:
        await workers.run(len, view)
        view.release()  # a thread that still held a slice of it would not let it go
        buffer += b"and grow"


async def test_stopping_finishes_what_was_given_to_the_threads() -> None:
    ear = Ear()
    workers = Workers(2)
    for n in range(10):
        workers.submit(time.sleep, 0.001 * n, told=ear.told)
    workers.stop()
    await until(lambda: len(ear.heard) == 10)
    assert not [t for t in threading.enumerate() if t.name.startswith("shoal worker")]


def test_a_loop_that_is_gone_is_not_told() -> None:
    began, gate = threading.Event(), threading.Event()

    def work() -> None:
        began.set()
        gate.wait(30.0)

    async def give_work() -> Workers:
        workers = Workers(1)
        workers.submit(work, told=lambda _, __: None)
        return workers

    workers = asyncio.run(give_work())
    assert began.wait(5.0)
    gate.set()
    workers.stop()  # and no thread died of it
