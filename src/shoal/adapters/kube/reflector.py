"""Keeps a mirror of what a Kubernetes API server lists, by list and watch.

The protocol is that of the Kubernetes documentation, "Efficient detection of changes"; times are
those of client-go's reflector unless said otherwise.
"""

import asyncio
import logging
import random
from collections.abc import Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Protocol

from shoal.adapters.kube.api import (
    KubeAccess,
    KubeConnection,
    KubeError,
    KubeGone,
    connected,
)

_log = logging.getLogger("shoal.kube")

# A page of slices of 100 endpoints is some 800 KB.
_PAGE_OBJECTS = 20
# More than there may be members (MAX_ADDRESSES), and no slice is empty for long.
MAX_OBJECTS = 16384


class Mirror(Protocol):
    """What is told of the objects, as JSON says them; called in the event loop."""

    def replace(self, objects: Sequence[dict[str, Any]]) -> None:
        """These are all."""
        ...

    def put(self, thing: dict[str, Any]) -> None:
        """This one is new, or other than before."""
        ...

    def drop(self, thing: dict[str, Any]) -> None:
        """This one is gone."""
        ...


@dataclass(frozen=True, slots=True)
class Waits:
    """How long what is waited for, in seconds."""

    first_s: float = 0.8
    """Before the first try after a failure; twice as long before each further one."""

    most_s: float = 30.0
    """Before any try, unless the server wants more by Retry-After."""

    watch_s: float = 300.0
    """How long a watch is asked for, times 1 to 2; so a new token is shown that often."""

    silence_s: float = 120.0
    """Without a word before a watch is begun anew: twice the minute between two bookmarks."""

    short_s: float = 1.0
    """A watch that ended sooner is a failure: else a server that ends all is asked in a loop."""

    long_s: float = 10.0
    """A watch that was open so long has worked, even if nothing happened."""


class Reflector:
    """Lists once, then watches from there; lists again only when the server has forgotten where."""

    def __init__(
        self,
        access: KubeAccess,
        path: str,
        *,
        selector: str = "",
        fields: str = "",
        metadata_only: bool = False,
        waits: Waits | None = None,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        """Know what to mirror.

        Args:
            access: the API server and the account.
            path: of the collection, as `/apis/discovery.k8s.io/v1/namespaces/a/endpointslices`.
            selector: label selector that the objects must match; empty: all.
            fields: field selector that they must match; empty: all.
            metadata_only: know nothing of the objects but their metadata.
            waits: bounds and pauses.
            jitter: returns numbers in [0, 1).
        """
        self._access = access
        self._path = path
        self._selectors = {"labelSelector": selector}
        if fields:
            self._selectors["fieldSelector"] = fields
        self._metadata_only = metadata_only
        self._waits = waits or Waits()
        self._jitter = jitter
        self._version: str | None = None  # mirrored up to here; None: nothing, so list
        # The first list may come from the server's cache, which costs etcd nothing when all nodes
        # of a site start. After a 410 it must not: the cache may be what was too old.
        self._from_cache = True
        self._failures = 0
        self._is_failing = False

    async def run(self, mirror: Mirror) -> None:
        """Tell `mirror` until cancelled; while tries fail it keeps what it has."""
        while True:
            wait_s = 0.0
            try:
                async with connected(self._access) as connection:
                    while True:
                        if self._version is None:
                            self._version = await self._list(connection, mirror)
                        await self._watch(connection, mirror)
            except KubeGone as exc:
                self._version = None
                self._from_cache = False
                _log.info("kubernetes_relist", extra={"error": str(exc)})
            except KubeError as exc:
                wait_s = exc.retry_after_s
                if not self._is_failing:  # once, not at every try
                    self._is_failing = True
                    _log.warning("kubernetes_failed", extra={"error": str(exc)})
            await asyncio.sleep(max(wait_s * (1 + self._jitter() / 2), self._pause_s()))

    def _pause_s(self) -> float:
        """Return how long to pause now; jittered, since all nodes lose a server together."""
        longest_s = min(self._waits.first_s * 2.0 ** min(self._failures, 16), self._waits.most_s)
        self._failures += 1
        return longest_s * (0.5 + self._jitter() / 2)

    async def _list(self, connection: KubeConnection, mirror: Mirror) -> str:
        query = {**self._selectors, "limit": str(_PAGE_OBJECTS)}
        if self._from_cache:
            query["resourceVersion"] = "0"
        objects: list[dict[str, Any]] = []
        while True:
            page = await connection.page(self._path, query, metadata_only=self._metadata_only)
            items = page.get("items") or []  # Go writes an empty list as null
            if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
                raise KubeError(f"the list at {self._path} is none")
            objects += items
            if len(objects) > MAX_OBJECTS:
                raise KubeError(f"more than {MAX_OBJECTS} objects at {self._path}")
            version, token = _text(page, "resourceVersion"), _text(page, "continue")
            if not token:
                break
            # A token names the version too, and a server refuses both together.
            query = {**query, "continue": token}
            query.pop("resourceVersion", None)
        if not version:
            raise KubeError(f"the list at {self._path} names no resourceVersion")
        mirror.replace(objects)
        return version

    async def _watch(self, connection: KubeConnection, mirror: Mirror) -> None:
        waits, now_s = self._waits, asyncio.get_running_loop().time
        watch_s = waits.watch_s * (1 + self._jitter())
        query = {
            **self._selectors,
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": self._version or "",
            "timeoutSeconds": str(max(int(watch_s), 1)),
        }
        began_s = now_s()
        try:
            # The server ends it; the bound here is for one that does not.
            async with (
                asyncio.timeout(watch_s + waits.silence_s),
                aclosing(
                    connection.events(
                        self._path,
                        query,
                        silence_s=waits.silence_s,
                        metadata_only=self._metadata_only,
                    )
                ) as events,
            ):
                async for event in events:
                    self._take(event, mirror)
                    self._works()
        except TimeoutError:
            pass
        finally:
            if now_s() - began_s >= waits.long_s:
                self._works()
        if now_s() - began_s < waits.short_s:
            raise KubeError(f"{self._access.server} ended a watch at once")

    def _works(self) -> None:
        self._failures = 0
        if self._is_failing:
            self._is_failing = False
            _log.info("kubernetes_recovered", extra={"version": self._version})

    def _take(self, event: dict[str, Any], mirror: Mirror) -> None:
        kind, thing = event.get("type"), event.get("object")
        if not isinstance(thing, dict):
            raise KubeError("the API server sent an event without an object")
        if kind == "ERROR":
            message = f"the watch ended: {str(thing.get('message'))[:256]}"
            raise KubeGone(message) if thing.get("code") == 410 else KubeError(message)
        version = _text(thing, "resourceVersion")
        if not version:
            raise KubeError("the API server sent an object without resourceVersion")
        if kind in ("ADDED", "MODIFIED"):
            mirror.put(thing)
        elif kind == "DELETED":
            mirror.drop(thing)
        elif kind != "BOOKMARK":
            raise KubeError(f"the API server sent an event of the unknown type {str(kind)[:40]!r}")
        self._version = version


def _text(thing: dict[str, Any], key: str) -> str:
    """Return a text of an object's or a list's metadata; empty if there is none."""
    metadata = thing.get("metadata")
    value = metadata.get(key) if isinstance(metadata, dict) else None
    return value if isinstance(value, str) else ""
