"""Which nodes are in this node's site, from a file that changes while the agent runs.

The file is a ConfigMap as the kubelet mounts it, which takes up to a minute to bring a change. Who
watches the ConfigMap knows better and tells; from then on the file is not looked at.
"""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

_log = logging.getLogger("shoal.discovery.sites")

# A ConfigMap holds no more.
_MAX_BYTES = 2 * 1024**2
_EVERY_NODE = "*"
# libyaml's loader reads ten thousand lines in a few hundredths of a second, Python's in a second.
_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class NodeSites:
    """A mapping of nodes to sites; a node for which it says nothing is a site of its own."""

    def __init__(self, path: Path, *, node: str, poll_s: float = 5.0) -> None:
        """Know nobody but this node before the first `look`.

        Args:
            path: YAML mapping of nodes' names to sites; `*` is every node that is not named.
            node: this node's name.
            poll_s: seconds between two looks at whether the file is another one.
        """
        self.key = path.name
        """What the ConfigMap calls the file."""
        self._path = path
        self._node = node
        self._poll_s = poll_s
        self._by_node: Mapping[str, str] = {}
        self._seen: object = None  # the text that was told, or which file was read
        self._told: str | None = None
        self._is_failing = False

    def has(self, node: str) -> bool:
        """Return whether `node` is in this node's site."""
        if node == self._node:
            return True
        mine = self._site(self._node)
        return bool(node) and mine is not None and self._site(node) == mine

    def tell(self, text: str) -> None:
        """Have `text` for what the file holds, at the next look and until another is told."""
        self._told = text

    async def look(self) -> bool:
        """Read what is new; return whether the sites changed.

        While it cannot be read, what was last read stays.
        """
        told, seen = self._told, self._seen
        if told is not None and told is seen:
            return False
        try:
            found = await asyncio.to_thread(self._read, told, seen)
        except (OSError, ValueError, TypeError, RecursionError, yaml.YAMLError) as exc:
            if not self._is_failing:  # once, not at every look
                self._is_failing = True
                _log.error("sites_unreadable", extra={"path": str(self._path), "error": str(exc)})
            return False
        self._is_failing = False
        if found is None or told is not self._told:
            return False  # told something newer while this was read: the next look's
        self._seen, by_node = found
        is_new = by_node != self._by_node
        self._by_node = by_node
        return is_new

    async def watch(self, changed: asyncio.Event) -> None:
        """Look every few seconds, and set `changed` when the sites did; until cancelled."""
        while True:
            await asyncio.sleep(self._poll_s)
            if await self.look():
                changed.set()

    def _site(self, node: str) -> str | None:
        return self._by_node.get(node, self._by_node.get(_EVERY_NODE))

    def _read(self, told: str | None, seen: object) -> tuple[object, dict[str, str]] | None:
        """Return what is read from, and what it says; None: it is what was read before."""
        if told is not None:
            return told, _parsed(told.encode())
        # The kubelet puts another file in its place by a link; size and time alone could be equal.
        about = self._path.stat()
        file_seen = (about.st_ino, about.st_mtime_ns, about.st_size)
        if file_seen == seen:
            return None
        with self._path.open("rb") as file:
            return file_seen, _parsed(file.read(_MAX_BYTES + 1))


class WatchedSites:
    """A mirror of the one ConfigMap that the file of `sites` comes from."""

    def __init__(self, sites: NodeSites, changed: asyncio.Event) -> None:
        """Tell `sites` what the ConfigMap says, and set `changed`."""
        self._sites = sites
        self._changed = changed

    def replace(self, objects: Sequence[dict[str, Any]]) -> None:
        """There is this one, or none: then what was last told stays, as with `drop`."""
        for thing in objects:
            self.put(thing)

    def put(self, thing: dict[str, Any]) -> None:
        """It says this now."""
        data = thing.get("data")
        text = data.get(self._sites.key) if isinstance(data, dict) else None
        if isinstance(text, str):
            self._sites.tell(text)
            self._changed.set()

    def drop(self, thing: dict[str, Any]) -> None:
        """It is gone, as before an uninstall ends the agents."""


def _parsed(text: bytes) -> dict[str, str]:
    if len(text) > _MAX_BYTES:
        raise ValueError(f"longer than {_MAX_BYTES} bytes")
    told = yaml.load(text, Loader=_Loader)  # noqa: S506 - a safe one
    if not isinstance(told, dict):
        raise TypeError("no mapping of nodes to sites")
    return {str(node): str(site) for node, site in told.items()}
