"""All nodes' clients at once: each pulls the image through its own agent."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from shoal.cli.pulling.job import PullRequest, pull
from shoal.cli.pulling.platforms import this_platform
from shoal.cli.pulling.sources import Sources
from shoal.cli.pulling.watch import Silent
from shoal.core.digest import Digest
from shoal.core.errors import ShoalError
from shoal.core.reference import Reference
from shoal.testing.demo.checking import CheckedImage


@dataclass(frozen=True, slots=True)
class Expected:
    """What the registry was given, as it was built."""

    manifest: Digest
    blobs: frozenset[Digest]


@dataclass(frozen=True, slots=True)
class Pulled:
    """What became of one node's pull; `error` is a sentence if it failed."""

    seconds: float
    verified: bool
    error: str = ""


class PullWatcher(Protocol):
    """Is told how the pulls go on. Nodes count from 0."""

    def advanced(self, node: int, *, done_bytes: int, sources: Sources) -> None:
        """So much of the image has arrived at a node's client."""
        ...

    def ended(self, node: int, pulled: Pulled) -> None:
        """A node's pull has ended."""
        ...


async def pull_everywhere(
    front_urls: Sequence[str],
    reference: Reference,
    expected: Expected,
    *,
    watcher: PullWatcher,
    timeout_s: float,
) -> list[Pulled]:
    """Let a client of every node begin at the same moment; return what became of each.

    Args:
        front_urls: each node's agent.
        reference: the image.
        expected: what it must turn out to be.
        watcher: told of the progress.
        timeout_s: when to give up on a node.
    """
    began_s = time.monotonic()

    async def one(node: int, url: str) -> Pulled:
        image = CheckedImage()
        error = ""
        try:
            async with asyncio.timeout(timeout_s):
                await pull(
                    PullRequest(
                        reference=reference,
                        agent_url=url,
                        find_credentials=lambda: None,
                        platform=this_platform(),
                    ),
                    image,
                    _Progress(node, watcher),
                )
        except TimeoutError:
            error = f"the pull had not ended after {round(timeout_s, 1):g} s"
        except ShoalError as exc:
            error = str(exc)
        pulled = Pulled(
            time.monotonic() - began_s,
            verified=image.manifest == expected.manifest and image.verified == expected.blobs,
            error=error,
        )
        watcher.ended(node, pulled)
        return pulled

    async with asyncio.TaskGroup() as group:
        pulls = [group.create_task(one(node, url)) for node, url in enumerate(front_urls)]
    return [task.result() for task in pulls]


class _Progress(Silent):
    """One node's pull as a single number, whatever its blobs do."""

    def __init__(self, node: int, watcher: PullWatcher) -> None:
        self._node = node
        self._watcher = watcher
        self._done: dict[Digest, int] = {}
        self._sources: dict[Digest, Sources] = {}

    def advanced(self, digest: Digest, done_bytes: int) -> None:
        """Pass on the sum."""
        self._done[digest] = done_bytes
        self._tell()

    def learned(self, digest: Digest, sources: Sources) -> None:
        """Pass on the sum."""
        self._sources[digest] = sources
        self._tell()

    def _tell(self) -> None:
        known = self._sources.values()
        self._watcher.advanced(
            self._node,
            done_bytes=sum(self._done.values()),
            sources=Sources(
                origin_bytes=sum(sources.origin_bytes for sources in known),
                peer_bytes=sum(sources.peer_bytes for sources in known),
                cached_bytes=sum(sources.cached_bytes for sources in known),
            ),
        )
