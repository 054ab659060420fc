"""Real agents on loopback, with what can go wrong, and their traces told to `core` once more.

What a live agent's swarm ordered follows from what it was told and from nothing else: not from the
process, its clock, or the seed of its hashes. The simulator stands on that.
"""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import pytest
import yaml

from shoal.core.blob import MIB
from shoal.core.digest import Digest
from shoal.core.swarm import effects as do
from shoal.core.swarm import events as on
from shoal.core.trace import FORMAT, read_step, whole_lines
from shoal.testing.demo.addresses import choose_addresses
from shoal.testing.demo.site import Node, Site
from shoal.testing.registry import EmbeddedRegistry
from shoal.testing.registry_faults import Answer, Truncate

NODES = 4
BLOB_BYTES = 10 * MIB + 123
# A blob takes more than a second: time for something to go wrong in the middle.
REGISTRY_BYTES_PER_S = 8e6
TIMEOUT_S = 60.0

REPLAY = """
import sys
from pathlib import Path
from random import Random
from shoal.core.trace import replay, whole_lines
for path in sys.argv[1:]:
    difference = replay(whole_lines(Path(path).read_text()), make_rng=Random)
    if difference is not None:
        sys.exit(f"{path}: {difference}")
"""


@dataclass(slots=True)
class Live:
    """A site of agents that write traces, their registry, and a client."""

    site: Site
    registry: EmbeddedRegistry
    session: aiohttp.ClientSession
    traces: Path

    async def pull(self, node: Node, digest: Digest, *, moved: asyncio.Event | None = None) -> bool:
        """Pull a blob as containerd would, and again if it was cut; return whether it came whole.

        Args:
            node: whose client.
            digest: of the blob.
            moved: set when a good part of it has come.
        """
        url = f"{node.front_url}/v2/library/app/blobs/{digest}"
        for _ in range(3):
            received = 0
            with contextlib.suppress(aiohttp.ClientError, ConnectionError):
                async with self.session.get(url) as answer:
                    if answer.status != 200:
                        continue
                    async for chunk in answer.content.iter_any():
                        received += len(chunk)
                        if moved is not None and received > BLOB_BYTES // 4:
                            moved.set()
            if received == BLOB_BYTES:
                return True
        return False

    def blob(self) -> Digest:
        """Put a blob into the registry that no agent has seen."""
        return self.registry.add_blob(os.urandom(BLOB_BYTES), repository="library/app")

    def recorded(self, kind: type[object], *, fits: Callable[[object], bool] = bool) -> int:
        """Return how many events or orders of a kind are in all the traces."""
        found: Counter[type[object]] = Counter()
        for path in self.traces.iterdir():
            for step in map(read_step, whole_lines(path.read_text())[1:]):
                found.update(type(x) for x in (step.event, *step.effects) if fits(x))
        return found[kind]


@pytest.fixture
async def live(tmp_path: Path) -> AsyncIterator[Live]:
    traces = tmp_path / "traces"
    addresses = choose_addresses(NODES)
    site = Site(tmp_path, addresses, store_bytes=200 * MIB)
    for number in range(1, NODES + 1):
        config = tmp_path / f"node-{number}" / "agent.yaml"
        settings = yaml.safe_load(config.read_text())
        config.write_text(yaml.safe_dump(settings | {"swarm": {"trace_dir": str(traces)}}))
    registry = EmbeddedRegistry(
        host=addresses.registry_host,
        port=addresses.registry_port,
        rate_bytes_per_s=REGISTRY_BYTES_PER_S,
    )
    timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
    async with registry, aiohttp.ClientSession(timeout=timeout) as session:
        try:
            site.start()
            await site.wait_ready(session)
            yield Live(site, registry, session, traces)
        finally:
            await asyncio.to_thread(site.stop)


def worker(node: Node) -> int:
    """Return the process of an agent that its supervisor watches."""
    pid = node.service.pid
    (child,) = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return int(child)


async def test_what_live_agents_ordered_is_what_core_orders_when_told_the_same(live: Live) -> None:
    one, two, three, four = live.site.nodes

    # All is well but for the registry, which refuses some requests and cuts others.
    first = live.blob()
    live.registry.fail(Answer(503), route="blobs", method="GET", skip=1, times=2)
    live.registry.fail(Truncate(300_000), route="blobs", method="GET", skip=1, times=1)
    pulls = await asyncio.gather(*(live.pull(node, first) for node in live.site.nodes))
    assert all(pulls)
    live.registry.heal()

    # A node loses power in the middle of a pull, and another hangs for a moment.
    second = live.blob()
    moved = asyncio.Event()
    lost = asyncio.create_task(live.pull(four, second, moved=moved))  # noqa: TID251  (awaited below)
    others = [live.pull(node, second) for node in (one, two, three)]
    rest = asyncio.gather(*others)
    async with asyncio.timeout(TIMEOUT_S):
        await moved.wait()
    four.service.kill()
    hung = worker(three)
    os.kill(hung, signal.SIGSTOP)
    await asyncio.sleep(1.5)  # longer than a neighbour waits before it asks another
    os.kill(hung, signal.SIGCONT)
    assert not await lost
    assert all(await rest)

    # It comes back with what it had, and then a node leaves in good order.
    four.service.start()
    await live.site.wait_ready(live.session)
    assert await live.pull(four, second)
    assert one.service.stop() == 0
    assert await live.pull(two, live.blob())
    await asyncio.to_thread(live.site.stop)

    traces = sorted(live.traces.iterdir())
    assert len(traces) == NODES + 1
    for kind in (do.Send, do.SendPiece, do.Connect, do.FetchFromRegistry, on.PeerLost):
        assert live.recorded(kind) > 0, f"no {kind.__name__} in the traces"
    failed = on.RegistryFault.FAILED
    assert live.recorded(on.RegistryEnded, fits=lambda x: getattr(x, "fault", None) is failed) > 0
    assert live.recorded(on.BlobWanted, fits=lambda x: getattr(x, "held", 0) > 0) > 0
    for seed in ("0", "1"):
        assert replayed(traces, hash_seed=seed) == ""


def replayed(traces: list[Path], *, hash_seed: str) -> str:
    """Replay traces in a process whose strings have other hashes; return what was wrong."""
    done = subprocess.run(
        [sys.executable, "-c", REPLAY, *map(str, traces)],
        env={**os.environ, "PYTHONHASHSEED": hash_seed},
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    return done.stderr[-3000:] if done.returncode else ""


def test_a_trace_that_was_changed_is_found_out(tmp_path: Path) -> None:
    path = tmp_path / "swarm.trace"
    began = f'[{FORMAT},"10.0.0.1:65002",1,{{}}]'
    order = '["Connect",["10.0.0.2:65002"]]'
    path.write_text(f'{began}\n[{time.monotonic()},"Ticked",[],[{order}]]\n')
    assert "step 1" in replayed([path], hash_seed="0")
