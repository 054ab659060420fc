"""A whole agent in a process of its own on loopback, and a registry that misbehaves on request.

Both serve a module of tests, so that what one test does to the agent shows in the next. The front
writes five lines for a cause in ten seconds: a module looks for lines of a cause in one test only.
"""

import asyncio
import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import pytest
import yaml
from yarl import URL

from shoal.core.digest import Digest
from shoal.testing.registry import EmbeddedRegistry

START_TIMEOUT_S = 90.0
REPOSITORY = "team/app"
# The bound on any wait without progress, and what a busy machine may add to it.
PATIENCE_S = 10.0
SLACK_S = 10.0


@dataclass(slots=True)
class Registry:
    """An embedded registry with a loop of its own, since each test has another."""

    inner: EmbeddedRegistry = field(default_factory=EmbeddedRegistry)
    _stop: threading.Event = field(default_factory=threading.Event)
    _started: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def start(self) -> None:
        """Serve."""
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), daemon=True)
        self._thread.start()
        assert self._started.wait(START_TIMEOUT_S)

    async def _serve(self) -> None:
        async with self.inner:
            self._started.set()
            await asyncio.to_thread(self._stop.wait)

    def stop(self) -> None:
        """Serve no more."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(START_TIMEOUT_S)

    @property
    def address(self) -> str:
        """Its name in references."""
        return self.inner.address

    def asked(self) -> int:
        """How many requests came so far, of any kind."""
        return self.inner.counters.requests.total()


@dataclass(frozen=True, slots=True)
class Answer:
    """What a client got; `cut` if the connection ended before the body did."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    cut: bool
    seconds: float


@dataclass(slots=True)
class Agent:
    """`shoal agent` under its supervisor."""

    process: "subprocess.Popen[bytes]"
    log: Path
    store: Path
    registry: Registry
    port: int = 0

    @property
    def base(self) -> str:
        """Where its front answers."""
        return f"http://127.0.0.1:{self.port}"

    def records(self) -> list[dict[str, object]]:
        """Return what it has logged so far."""
        lines = self.log.read_text(encoding="utf-8").splitlines()
        return [json.loads(line) for line in lines if line.endswith("}")]

    def mark(self) -> int:
        """Return a point in the log after which to look."""
        return len(self.records())

    def said(self, pattern: str, *, since: int = 0, timeout_s: float = 30.0) -> str:
        """Return the first line at level warning or above that matches, waiting for it.

        A line is written by a thread of the agent, so it may come after the answer.
        """
        return self._line(pattern, since, timeout_s, lambda r: r["level"] in ("warning", "error"))

    def noted(self, pattern: str, *, since: int = 0, timeout_s: float = 30.0) -> str:
        """Return the first line of any level that matches, waiting for it."""
        return self._line(pattern, since, timeout_s, lambda _: True)

    def _line(
        self,
        pattern: str,
        since: int,
        timeout_s: float,
        counts: Callable[[dict[str, object]], bool],
    ) -> str:
        give_up_s = time.monotonic() + timeout_s
        while True:
            lines = [json.dumps(r) for r in self.records()[since:] if counts(r)]
            found = [line for line in lines if re.search(pattern, line)]
            if found:
                return found[0]
            assert time.monotonic() < give_up_s, f"no {pattern!r} in:\n" + "\n".join(lines)
            time.sleep(0.02)

    def stored(self) -> set[str]:
        """Return the names of all blobs in the store; `Digest.hex` is such a name."""
        return {path.name for path in (self.store / "blobs").rglob("*") if path.is_file()}

    def files(self) -> set[str]:
        """Return every file that is anywhere around the store."""
        return {str(path) for path in self.store.parent.rglob("*") if path.is_file()}

    def wait_ready(self) -> None:
        """Wait until the front answers."""
        give_up_s = time.monotonic() + START_TIMEOUT_S
        while not self.port:
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < give_up_s, self.log.read_text()
            for record in self.records():
                if record["event"] == "front_listening":
                    addresses = record["addresses"]
                    assert isinstance(addresses, list)
                    self.port = int(str(addresses[0]).rpartition(":")[2])
            time.sleep(0.02)


@dataclass(slots=True)
class Client:
    """Asks the agent as a runtime does."""

    agent: Agent
    session: aiohttp.ClientSession

    def url(self, path: str, *, ns: str | None = None) -> URL:
        """Return the URL of `path`, with the registry's name as containerd writes it."""
        name = (ns if ns is not None else self.agent.registry.address).replace(":", "%3A")
        return URL(f"{self.agent.base}{path}?ns={name}", encoded=True)

    async def ask(
        self,
        path: str,
        *,
        method: str = "GET",
        ns: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Ask for `path` and read the answer to its end, or to where it is cut."""
        began_s = time.monotonic()
        body = bytearray()
        cut = False
        async with self.session.request(
            method, self.url(path, ns=ns), headers=headers, allow_redirects=False
        ) as response:
            try:
                async for chunk in response.content.iter_any():
                    body += chunk
            except (aiohttp.ClientPayloadError, ConnectionError):
                cut = True
        took_s = time.monotonic() - began_s
        return Answer(response.status, dict(response.headers), bytes(body), cut, took_s)

    async def blob(self, digest: Digest, **options: str) -> Answer:
        """Ask for a blob."""
        return await self.ask(f"/v2/{REPOSITORY}/blobs/{digest}", headers=options or None)

    async def raw(self, text: bytes, *, timeout_s: float = PATIENCE_S + SLACK_S) -> bytes:
        """Send bytes as they are; return all that comes back until the agent closes."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.agent.port)
        try:
            with contextlib.suppress(ConnectionError):
                writer.write(text)
                await writer.drain()
            async with asyncio.timeout(timeout_s):
                received = bytearray()
                with contextlib.suppress(ConnectionError):
                    while chunk := await reader.read(65536):
                        received += chunk
                return bytes(received)
        finally:
            writer.close()

    async def works(self) -> None:
        """Pull a blob that nothing is wrong with, whatever else goes on."""
        data = os.urandom(700_000)
        digest = self.agent.registry.inner.add_blob(data, repository=REPOSITORY)
        answer = await self.blob(digest)
        assert (answer.status, answer.body == data) == (200, True)
        assert answer.seconds < PATIENCE_S
        # It is kept in the background: the next test must not find it new in the store.
        async with asyncio.timeout(60):
            while digest.hex not in self.agent.stored():  # noqa: ASYNC110 - another process
                await asyncio.sleep(0.02)


@pytest.fixture(scope="module")
def registry() -> Iterator[Registry]:
    served = Registry()
    served.start()
    yield served
    served.stop()


@contextlib.contextmanager
def running(folder: Path, registry: Registry, **sections: object) -> Iterator[Agent]:
    """Run an agent that serves the registry, alone in its site; `sections` go over its settings."""
    settings = {
        "front": {"hosts": ["127.0.0.1"], "port": 0},
        "peer": {"hosts": ["127.0.0.1"], "port": 0},
        "exporter": {"hosts": ["127.0.0.1"], "port": 0},
        "store": {"path": str(folder / "store"), "reserve_bytes": 0},
        "registries": [{"name": registry.address, "plain_http": True}],
        # A machine that runs tests may be busier than any node.
        "supervisor": {"heartbeat_timeout_s": 20.0},
        "drain_timeout_s": 2.0,
        **sections,
    }
    config = folder / "agent.yaml"
    config.write_text(yaml.safe_dump(settings), encoding="utf-8")
    environment = {k: v for k, v in os.environ.items() if not k.startswith("SHOAL_")}
    log = folder / "agent.log"
    with log.open("wb") as stderr:
        process = subprocess.Popen(
            [sys.executable, "-m", "shoal", "agent", "--config", str(config)],
            env=environment,
            stdin=subprocess.DEVNULL,
            stderr=stderr,
        )
    running = Agent(process, log, folder / "store", registry)
    try:
        running.wait_ready()
        yield running
        process.send_signal(signal.SIGTERM)
        assert process.wait(START_TIMEOUT_S) == 0
    finally:
        process.kill()  # the agent follows: it asked the kernel to
        process.wait(START_TIMEOUT_S)


@pytest.fixture(scope="module")
def agent(registry: Registry, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Agent]:
    """An agent that serves the registry, alone in its site."""
    with running(tmp_path_factory.mktemp("agent"), registry) as started:
        yield started


@pytest.fixture
async def client(agent: Agent) -> AsyncIterator[Client]:
    timeout = aiohttp.ClientTimeout(total=120)
    async with aiohttp.ClientSession(timeout=timeout, auto_decompress=False) as session:
        yield Client(agent, session)


@pytest.fixture(autouse=True)
def healed(request: pytest.FixtureRequest) -> Iterator[None]:
    """After each test the registry is in order again."""
    yield
    if "registry" in request.fixturenames:
        served: Registry = request.getfixturevalue("registry")
        served.inner.heal()
