"""Which nodes are in this node's site, from a file that changes while the agent runs."""

import asyncio
import logging
from pathlib import Path

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
        """Know nobody but this node before `watch` has read the file.

        Args:
            path: YAML mapping of nodes' names to sites; `*` is every node that is not named.
            node: this node's name.
            poll_s: seconds between two looks at whether the file is another one. The kubelet
                itself takes up to a minute to bring a change of a ConfigMap.
        """
        self._path = path
        self._node = node
        self._poll_s = poll_s
        self._by_node: dict[str, str] = {}
        self._seen: object = None
        self._is_failing = False

    def has(self, node: str) -> bool:
        """Return whether `node` is in this node's site."""
        if node == self._node:
            return True
        mine = self._site(self._node)
        return bool(node) and mine is not None and self._site(node) == mine

    async def look(self) -> bool:
        """Read the file if it is another one; return whether the sites changed.

        While it cannot be read, what was last read stays.
        """
        try:
            is_new = await asyncio.to_thread(self._read)
        except (OSError, ValueError, TypeError, RecursionError, yaml.YAMLError) as exc:
            if not self._is_failing:  # once, not at every look
                self._is_failing = True
                _log.error("sites_unreadable", extra={"path": str(self._path), "error": str(exc)})
            return False
        self._is_failing = False
        return is_new

    async def watch(self, changed: asyncio.Event) -> None:
        """Look every few seconds, and set `changed` when the sites did; until cancelled."""
        while True:
            await asyncio.sleep(self._poll_s)
            if await self.look():
                changed.set()

    def _site(self, node: str) -> str | None:
        return self._by_node.get(node, self._by_node.get(_EVERY_NODE))

    def _read(self) -> bool:
        # The kubelet puts another file in its place by a link; size and time alone could be equal.
        about = self._path.stat()
        seen = (about.st_ino, about.st_mtime_ns, about.st_size)
        if seen == self._seen:
            return False
        with self._path.open("rb") as file:
            text = file.read(_MAX_BYTES + 1)
        if len(text) > _MAX_BYTES:
            raise ValueError(f"longer than {_MAX_BYTES} bytes")
        told = yaml.load(text, Loader=_Loader)  # noqa: S506 - a safe one
        if not isinstance(told, dict):
            raise TypeError("no mapping of nodes to sites")
        by_node = {str(node): str(site) for node, site in told.items()}
        self._seen = seen
        is_new = by_node != self._by_node
        self._by_node = by_node
        return is_new
