"""Settings that are read again: all of them, or none."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from shoal.agent import reload as reload_module
from shoal.agent.reload import Reload
from shoal.agent.settings import AgentSettings
from shoal.core.errors import SettingsError
from unit.agent.driving import until


def settings(**sections: Any) -> AgentSettings:
    return AgentSettings.model_validate(sections)


FASTER = settings(limits={"upload_bytes_per_s": "2MB/s"})


@asynccontextmanager
async def reloading(
    read: Callable[[], AgentSettings], *, before: AgentSettings | None = None
) -> AsyncIterator[Reload]:
    """Run a reload whose file says what `read` returns."""
    it = Reload(before or settings(), read=read)
    task = asyncio.ensure_future(it.run())
    try:
        yield it
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def events(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage().partition(":")[0] for record in caplog.records]


async def test_what_changed_is_put_into_force_and_named(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    seen: list[AgentSettings] = []
    async with reloading(lambda: FASTER) as it:
        it.part("limits", prepare=lambda new: lambda: seen.append(new))
        it.part("log", "registries", prepare=lambda new: lambda: pytest.fail("did not change"))
        before = it.succeeded_at
        it.request()
        await until(lambda: bool(seen))
        assert it.settings is seen[0]
        assert it.settings == FASTER
        await until(lambda: it.succeeded_at > before)
        assert it.successful
    assert events(caplog) == ["settings_reread"]
    assert caplog.records[0].__dict__["changed"] == ["limits.upload_bytes_per_s"]


async def test_keys_that_wait_for_a_restart_are_named(caplog: pytest.LogCaptureFixture) -> None:
    async with reloading(lambda: settings(front={"port": 7})) as it:
        it.request()
        await until(lambda: bool(caplog.records))
        assert it.settings.front.port == 65001
        assert it.successful
    assert events(caplog) == ["settings_need_restart"]
    assert caplog.records[0].__dict__["keys"] == ["front.port"]


async def test_a_wrong_file_changes_nothing_and_is_named_until_it_is_right(
    caplog: pytest.LogCaptureFixture,
) -> None:
    said: list[AgentSettings | SettingsError] = [
        SettingsError("limits.upload_bytes_per_s: expected a rate (agent.yaml line 3)"),
        FASTER,
    ]

    def read() -> AgentSettings:
        if isinstance(next_ := said.pop(0), SettingsError):
            raise next_
        return next_

    async with reloading(read) as it:
        before = it.succeeded_at
        it.request()
        await until(lambda: not it.successful)
        assert it.settings == settings()
        assert it.succeeded_at == before
        assert events(caplog) == ["settings_not_reread"]
        assert "expected a rate (agent.yaml line 3)" in caplog.records[0].__dict__["error"]
        it.request()
        await until(lambda: it.successful)
        assert it.settings == FASTER


async def test_a_part_that_cannot_prepare_stops_all_of_them() -> None:
    done: list[str] = []

    def cannot(_: AgentSettings) -> Callable[[], None]:
        raise SettingsError("ca_file cannot be read")

    async with reloading(lambda: FASTER) as it:
        it.part("limits", prepare=lambda _: lambda: done.append("first"))
        it.part("limits", prepare=cannot)
        it.request()
        await until(lambda: not it.successful)
        assert it.settings == settings()
    assert done == []


async def test_a_bug_in_one_part_leaves_the_others_in_force(
    caplog: pytest.LogCaptureFixture,
) -> None:
    done: list[str] = []

    def fails() -> None:
        raise ValueError("a bug")

    async with reloading(lambda: FASTER) as it:
        it.part("limits", prepare=lambda _: fails)
        it.part("limits", prepare=lambda _: lambda: done.append("second"))
        it.request()
        await until(lambda: not it.successful)
        assert done == ["second"]
    assert "settings_partly_in_force" in events(caplog)


async def test_a_bug_in_reading_ends_nothing(caplog: pytest.LogCaptureFixture) -> None:
    said: list[AgentSettings | None] = [None, FASTER]

    def read() -> AgentSettings:
        if (next_ := said.pop(0)) is None:
            raise ValueError("a bug")
        return next_

    async with reloading(read) as it:
        it.request()
        await until(lambda: not it.successful)
        it.request()
        await until(lambda: it.successful)
    assert "settings_not_reread" in events(caplog)


async def test_a_file_that_cannot_be_read_in_time_is_given_up(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(reload_module, "READ_TIMEOUT_S", 0.05)
    hangs = asyncio.Event()

    async def stuck(_: object) -> None:
        await hangs.wait()

    monkeypatch.setattr("shoal.agent.reload.asyncio.to_thread", stuck)
    async with reloading(settings) as it:
        it.request()
        await until(lambda: not it.successful)
    assert "not read within" in caplog.records[0].__dict__["error"]


async def test_several_requests_at_once_are_one() -> None:
    reads: list[None] = []

    def read() -> AgentSettings:
        reads.append(None)
        return FASTER

    async with reloading(read) as it:
        for _ in range(10):
            it.request()
        await until(lambda: it.settings == FASTER)
    assert len(reads) == 1


async def test_another_file_is_read_without_a_request(tmp_path: Path) -> None:
    file = tmp_path / "agent.yaml"
    file.write_text("a")
    seen: list[AgentSettings] = []
    it = Reload(settings(reload_interval_s=0.01), read=lambda: FASTER, file=file)
    it.part("limits", prepare=lambda new: lambda: seen.append(new))
    task = asyncio.ensure_future(it.run())
    try:
        file.unlink()  # as for a moment while the kubelet changes it
        await asyncio.sleep(0.05)
        assert seen == []
        (tmp_path / "new.yaml").write_text("ab")
        (tmp_path / "new.yaml").rename(file)
        await until(lambda: bool(seen))
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
