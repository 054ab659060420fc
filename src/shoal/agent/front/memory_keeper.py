"""Writes the front's memory down: what was granted within seconds, what was refused at once."""

import asyncio
import logging
from pathlib import Path
from threading import Lock

from shoal.agent.front.memory import Memory
from shoal.agent.front.memory_file import save, snapshot
from shoal.agent.workers import Workers
from shoal.core.errors import StoreError

_log = logging.getLogger("shoal.agent.front")

# A refusal that is not written down for so long may be lost with the machine: what was granted
# before then counts again, for as long as it would have without the refusal.
LOOK_S = 0.5
# The whole memory is written each time, so what was granted waits for more of it.
GATHER_S = 5.0


class MemoryKeeper:
    """Keeps the file of one memory up to date."""

    def __init__(
        self,
        path: Path,
        memory: Memory,
        *,
        workers: Workers,
        look_s: float = LOOK_S,
        gather_s: float = GATHER_S,
    ) -> None:
        """Keep `memory` in `path`, whose content it has now.

        Args:
            path: the file.
            memory: what is written.
            workers: write it.
            look_s: seconds between two looks whether something was refused.
            gather_s: seconds for which what was granted may wait.
        """
        self._path = path
        self._memory = memory
        self._workers = workers
        self._look_s = look_s
        self._gather_s = gather_s
        self._saved = memory.changes
        self._withdrawn = memory.access.withdrawn
        self._failing = False
        self._writing = Lock()  # a write goes on in its thread when `run` is cancelled

    async def run(self) -> None:
        """Write whatever changes, until cancelled."""
        loop = asyncio.get_running_loop()
        saved_s = loop.time()
        while True:
            await asyncio.sleep(self._look_s)
            is_urgent = self._memory.access.withdrawn != self._withdrawn
            if is_urgent or loop.time() - saved_s >= self._gather_s:
                await self.save()
                saved_s = loop.time()

    async def save(self) -> None:
        """Write the memory down, if it has changed."""
        changes, withdrawn = self._memory.changes, self._memory.access.withdrawn
        if changes == self._saved:
            return
        try:
            await self._workers.run(self._write, snapshot(self._memory))
        except StoreError as error:
            if not self._failing:
                _log.warning("access_memory_not_written", extra={"reason": str(error)})
            self._failing = True
            return
        self._saved, self._withdrawn, self._failing = changes, withdrawn, False

    def _write(self, text: bytes) -> None:
        with self._writing:
            save(self._path, text)
