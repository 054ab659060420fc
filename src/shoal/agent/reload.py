"""Reads the settings again on request, or when their file has changed, and puts them into force.

What a running agent can change is in settings_live.py; SIGHUP is the request.

Nothing is put into force unless all of it can be: the file is checked whole, then every part
prepares what it will do, which may still fail, and only then does each do it, which may not.
"""

import asyncio
import logging
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from shoal.adapters.mounts.state import FileState, state_of
from shoal.agent.settings import AgentSettings
from shoal.agent.settings_live import Change, change_between
from shoal.core.errors import SettingsError

_log = logging.getLogger("shoal.agent.reload")

# A file on storage that hangs must not keep the next SIGHUP waiting for ever.
READ_TIMEOUT_S = 30.0

# Called in a thread with the settings to be, for a part of which something changed. Raises
# SettingsError if they do not fit this machine; returns what puts them into force, on the loop.
Prepare = Callable[[AgentSettings], Callable[[], None]]


class Reload:
    """The settings in force, and how they change."""

    def __init__(
        self,
        settings: AgentSettings,
        *,
        read: Callable[[], AgentSettings],
        file: Path | None = None,
    ) -> None:
        """Begin with `settings` in force.

        Args:
            settings: as read at the start.
            read: reads them again from where they came from; called in a thread. Raises
                SettingsError, which names the key and what was expected.
            file: what is looked at every `reload_interval_s`, if that is set.
        """
        self._file = file if settings.reload_interval_s is not None else None
        self._interval_s = settings.reload_interval_s
        self._file_seen = self._look()
        self.settings = settings
        self.successful = True
        self.succeeded_at = _now()
        self._read = read
        self._parts: list[tuple[tuple[str, ...], Prepare]] = []
        self._wanted = asyncio.Event()

    def part(self, *sections: str, prepare: Prepare) -> None:
        """Have `prepare` called when a key of one of these sections has changed."""
        self._parts.append((sections, prepare))

    def request(self) -> None:
        """Read the settings again, soon. Several requests before that are one."""
        self._wanted.set()

    async def run(self) -> None:
        """Do so whenever it is requested, until cancelled."""
        while True:
            await self._request_or_change()
            self._wanted.clear()
            self.successful = await self._once()
            if self.successful:
                self.succeeded_at = _now()

    async def _request_or_change(self) -> None:
        while True:
            try:
                async with asyncio.timeout(self._interval_s):
                    await self._wanted.wait()
                return
            except TimeoutError:
                seen = await asyncio.to_thread(self._look)
            if seen not in (None, self._file_seen):
                self._file_seen = seen
                return

    def _look(self) -> FileState | None:
        """Return what tells one file at this path from another; None: there is none just now."""
        return None if self._file is None else state_of(self._file)

    async def _once(self) -> bool:
        try:
            async with asyncio.timeout(READ_TIMEOUT_S):
                change, commits = await asyncio.to_thread(self._prepared)
        except SettingsError as error:
            _log.error("settings_not_reread: the old ones stay", extra={"error": str(error)})
            return False
        except TimeoutError:
            _log.error(
                "settings_not_reread: the old ones stay",
                extra={"error": f"the file was not read within {READ_TIMEOUT_S:g} s"},
            )
            return False
        except Exception:
            _log.exception("settings_not_reread: the old ones stay")  # a bug
            return False
        self.settings = change.settings
        done = True
        for commit in commits:
            try:
                commit()
            except Exception:
                done = False
                _log.exception("settings_partly_in_force")  # a bug; the other parts are right
        _log.info("settings_reread", extra={"changed": list(change.live)})
        if change.waiting:
            _log.warning(
                "settings_need_restart: these keys stay as they were until the agent is restarted",
                extra={"keys": list(change.waiting)},
            )
        return done

    def _prepared(self) -> tuple[Change, list[Callable[[], None]]]:
        change = change_between(self.settings, self._read())
        changed = {name.partition(".")[0] for name in change.live}
        commits = [
            prepare(change.settings) for sections, prepare in self._parts if changed & set(sections)
        ]
        return change, commits


def _now() -> float:
    """Return the Unix time in seconds: what a timestamp metric holds."""
    return datetime.now(UTC).timestamp()
