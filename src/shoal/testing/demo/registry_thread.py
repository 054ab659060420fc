"""The embedded registry in a thread with an event loop of its own.

The demo's loop draws bars and hashes; a registry in the same loop would be as slow as they are.
"""

import asyncio
import contextlib
import errno
import threading

from shoal.testing.demo.failures import AddressTaken, DemoFailed
from shoal.testing.registry import EmbeddedRegistry
from shoal.testing.registry_content import RegistryContent

_START_TIMEOUT_S = 10.0
_STOP_TIMEOUT_S = 10.0


class RegistryThread:
    """A registry that serves `content` from `start` to `stop`."""

    def __init__(
        self, content: RegistryContent, *, host: str, port: int, rate_bytes_per_s: int | None
    ) -> None:
        """Prepare.

        Args:
            content: what it holds.
            host: where to listen.
            port: where to listen.
            rate_bytes_per_s: the most that all connections together get; None: no limit.
        """
        self.address = f"{host}:{port}"
        self._registry = EmbeddedRegistry(
            content=content, host=host, port=port, rate_bytes_per_s=rate_bytes_per_s
        )
        self._thread = threading.Thread(target=self._run, name="registry", daemon=True)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop = asyncio.Event()
        self._started = threading.Event()
        self._error: OSError | None = None

    @property
    def sent_bytes(self) -> int:
        """Body bytes of blobs that were sent so far."""
        # A copy, which no other thread can get in between of, since this one counts on.
        return sum(dict(self._registry.counters.blob_body_bytes).values())

    def start(self) -> None:
        """Start the thread; return once the registry answers.

        Raises:
            AddressTaken: somebody else listens there.
            DemoFailed: anything else.
        """
        self._thread.start()
        if not self._started.wait(_START_TIMEOUT_S):
            raise DemoFailed(f"the registry did not start within {_START_TIMEOUT_S:g} s")
        if self._error is not None:
            taken = self._error.errno == errno.EADDRINUSE
            kind = AddressTaken if taken else DemoFailed
            raise kind(f"the registry cannot listen on {self.address}: {self._error}")

    def stop(self) -> None:
        """Cut all connections and end the thread. Idempotent."""
        if self._loop is None:
            return
        with contextlib.suppress(RuntimeError):  # the loop has ended by itself
            self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(_STOP_TIMEOUT_S)

    def _run(self) -> None:
        asyncio.run(self._serve())

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        try:
            await self._registry.start()
        except OSError as exc:
            self._error = exc
        self._started.set()
        try:
            if self._error is None:
                await self._stop.wait()
        finally:
            await self._registry.stop()
