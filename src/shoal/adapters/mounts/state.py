"""Whether a file is still the one that was read."""

import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class FileState:
    """What tells one version of a file from the next, without reading either.

    A mounted ConfigMap is a symbolic link into a folder that is swapped for another: the target's
    path and inode change, whatever its times. An editor writes in place, or renames a new file.
    """

    target: str
    device: int
    inode: int
    modified_ns: int
    size_bytes: int


def state_of(path: Path) -> FileState | None:
    """Return the state of the file at `path`, followed to its end; None if there is none now."""
    try:
        target = os.path.realpath(path, strict=True)
        found = path.stat()
    except OSError:
        return None
    return FileState(target, found.st_dev, found.st_ino, found.st_mtime_ns, found.st_size)


class Changes:
    """Tells of some files whether any has changed since it was last asked."""

    def __init__(self, *paths: Path) -> None:
        """Begin with the files as they are now."""
        self._last = {path: state_of(path) for path in paths}

    def seen(self) -> bool:
        """Return whether one has changed; one that is gone for now, in the midst of a swap, not."""
        changed = False
        for path, last in self._last.items():
            now = state_of(path)
            if now is not None and now != last:
                self._last[path] = now
                changed = True
        return changed
