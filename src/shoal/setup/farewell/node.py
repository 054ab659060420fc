"""What a farewell pod does on its node: the runtime's files as they were, no store, a name less.

The list is ConfigMap `NAME-farewell`, a key a node. It owns the account, the rights and the
DaemonSet of the farewell itself: whoever takes the last name off deletes it, and Kubernetes the
rest.
"""

import asyncio
import contextlib
import logging
import shutil
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from shoal.adapters.kube.api import KubeConflict, KubeConnection, KubeError, KubeMissing
from shoal.adapters.runtime.containerd_check import Finding
from shoal.setup.farewell.objects import agent_pods, farewell_path
from shoal.setup.node.runtimes import Runtime

_log = logging.getLogger("shoal.setup")

# Longer than an installer that lives on for a moment takes from a look to the next write.
SETTLE_S = 5.0
POLL_S = 2.0
LONGEST_POLL_S = 30.0
_MAX_REASON_CHARS = 512


@dataclass(slots=True, kw_only=True)
class NodeFarewell:
    """One node's farewell."""

    kube: KubeConnection
    namespace: str
    node: str
    runtime: Runtime
    store: Path
    """The store's folder, through a mount of its parent."""

    settle_s: float = SETTLE_S
    poll_s: float = POLL_S

    async def run(self) -> None:
        """Return once this node is as it was, and its name off the list."""
        await self._until(self._agent_is_gone)
        while True:
            wrong = await asyncio.to_thread(self.clean)
            if not wrong:
                # Once more after a while: what is there then, somebody wrote in the meantime.
                await asyncio.sleep(self.settle_s)
                if await asyncio.to_thread(self.is_clean):
                    break
                continue
            reason = "; ".join(f"{it.subject}: {it.text}" for it in wrong)[:_MAX_REASON_CHARS]
            _log.error("not_clean_yet", extra={"reason": reason})
            with contextlib.suppress(KubeError):
                await self.kube.patch(farewell_path(self.namespace), {"data": {self.node: reason}})
            await asyncio.sleep(self.poll_s)
        await self._until(self._is_signed_off)
        _log.info("node_is_clean", extra={"node": self.node})

    def clean(self) -> list[Finding]:
        """Take everything of Shoal's off the node; return what could not be."""
        done = self.runtime.remove()
        for finding in done:
            _log.info("runtime_restored", extra={"subject": finding.subject, "did": finding.text})
        wrong = [finding for finding in done if not finding.ok]
        try:
            remove_store(self.store)
        except OSError as exc:
            wrong.append(Finding("store", False, f"{exc.filename}: {exc.strerror}"))
        return wrong

    def is_clean(self) -> bool:
        """Return whether there was nothing left to take away."""
        return not self.runtime.remove() and not _holds_anything(self.store)

    async def _agent_is_gone(self) -> bool:
        return not await agent_pods(self.kube, self.namespace, node=self.node)

    async def _is_signed_off(self) -> bool:
        path = farewell_path(self.namespace)
        try:
            listed = await self.kube.patch(path, {"data": {self.node: None}})
            if not listed.get("data"):
                version = listed["metadata"]["resourceVersion"]
                await self.kube.delete(path, preconditions={"resourceVersion": version})
        except KubeMissing:
            pass  # somebody took the list away: nobody waits for this node
        except KubeConflict:
            return False  # a name was added in between
        return True

    async def _until(self, is_so: Callable[[], Awaitable[bool]]) -> None:
        """Ask until it is so, however long the API server is away, and less often as time passes.

        Whoever installs Shoal again before this node has returned keeps its farewell waiting here,
        for the agent's pod, which is right.
        """
        pause_s, said = self.poll_s, ""
        while True:
            try:
                if await is_so():
                    return
            except KubeError as exc:
                if str(exc) != said:
                    said = str(exc)
                    _log.warning("kubernetes_again", extra={"error": said})
            await asyncio.sleep(pause_s)
            pause_s = min(1.5 * pause_s, LONGEST_POLL_S)


def remove_store(store: Path) -> None:
    """Delete the store's folder; one that is a mount of its own is emptied.

    Raises:
        OSError: something cannot be deleted.
    """
    if store.is_symlink():
        store.unlink()
    elif store.is_mount():
        for path in store.iterdir():
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()
    elif store.exists():
        shutil.rmtree(store)


def _holds_anything(store: Path) -> bool:
    return any(store.iterdir()) if store.is_mount() else store.exists() or store.is_symlink()
