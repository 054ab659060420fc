"""The node's own credentials, in a file of Docker's format that is read again when it changes."""

import asyncio
import logging
import os
import time
from collections.abc import Callable
from pathlib import Path

from shoal.adapters.origin.docker_config import MAX_CONFIG_BYTES, Credentials, DockerConfig
from shoal.core.errors import BadInput, SettingsError

_log = logging.getLogger("shoal.agent.front")

# A pull secret that was changed is used for pulls from then on; a stat() a second costs nothing.
LOOK_S = 1.0

# What tells one content of the file from the next: Kubernetes replaces a secret by another link.
_Stamp = tuple[int, int, int, int]


class CredentialsFile:
    """One such file. What is wrong with it is logged once, and then it holds nothing."""

    def __init__(self, path: Path, *, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._path = path
        self._clock_s = clock_s
        self._looked_s = float("-inf")
        self._stamp: _Stamp | None = None
        self._config: DockerConfig | None = None
        self._said = ""
        self._reading = asyncio.Lock()

    async def credentials_for(self, registry: str, *, repository: str) -> Credentials | None:
        """Return what the file has for a repository now, or None.

        Reads the file at most once a second, in a thread.
        """
        async with self._reading:
            if self._clock_s() - self._looked_s >= LOOK_S:
                await asyncio.to_thread(self._look)
                self._looked_s = self._clock_s()
        if self._config is None:
            return None
        try:
            return self._config.credentials_for(registry, repository=repository)
        except BadInput as error:
            self._say(str(error))
            return None

    def _look(self) -> None:
        try:
            descriptor = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            self._lose(f"{self._path} cannot be read: {error.strerror}")
            return
        with open(descriptor, "rb") as file:
            status = os.fstat(descriptor)
            stamp = (status.st_dev, status.st_ino, status.st_mtime_ns, status.st_mode)
            if stamp == self._stamp:
                return
            self._stamp = stamp
            if _is_open_to_others(status):
                self._lose(f"others can read {self._path}: set its mode to 0600")
                return
            try:
                body = file.read(MAX_CONFIG_BYTES + 1)
                if len(body) > MAX_CONFIG_BYTES:
                    raise SettingsError(f"{self._path} is longer than {MAX_CONFIG_BYTES} bytes")
                self._config = DockerConfig.parse(body, source=str(self._path))
            except (SettingsError, OSError) as error:
                self._lose(str(error))
                return
        self._said = ""

    def _lose(self, why: str) -> None:
        self._config = None
        self._say(why)

    def _say(self, why: str) -> None:
        if why != self._said:
            _log.warning("node_credentials_not_used", extra={"reason": why})
        self._said = why


def _is_open_to_others(status: os.stat_result) -> bool:
    # Kubernetes gives a Secret's files to root and lets the group of the pod's fsGroup read them,
    # which is then one of this process's own.
    is_given = status.st_uid == 0 and status.st_gid in (os.getegid(), *os.getgroups())
    return bool(status.st_mode & (0o037 if is_given else 0o077))
