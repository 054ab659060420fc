"""What a figure was measured on, and which code: without it a number says nothing."""

import os
import platform
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent
GIT_TIMEOUT_S = 10.0


@dataclass(frozen=True, slots=True)
class Commit:
    """The commit that was measured; `dirty` if the tree held anything that it does not."""

    id: str
    dirty: bool

    def __str__(self) -> str:
        """Return the commit as a results page shows it."""
        return f"{self.id} (with uncommitted changes)" if self.dirty else self.id


@dataclass(frozen=True, slots=True)
class Machine:
    """The machine, in the words that decide how fast it is. No name: it identifies nobody."""

    cpu: str
    cores: int
    memory_gib: float
    kernel: str
    system: str
    python: str

    def __str__(self) -> str:
        """Return the machine as a results page shows it."""
        return (
            f"{self.cores} cores of {self.cpu}, {self.memory_gib:.0f} GiB, "
            f"Linux {self.kernel}, {self.system}, Python {self.python}"
        )


def this_machine() -> Machine:
    """Describe the machine that this process runs on."""
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return Machine(
        cpu=_first("/proc/cpuinfo", "model name", ":") or platform.machine(),
        cores=len(os.sched_getaffinity(0)),
        memory_gib=round(pages / 2**30, 1),
        kernel=platform.release(),
        system=_first("/etc/os-release", "PRETTY_NAME", "=").strip('"') or platform.system(),
        python=platform.python_version(),
    )


def this_commit(root: Path = ROOT) -> Commit:
    """Ask git which commit is checked out; "unknown" where there is no git or no repository.

    The results folder does not make a tree dirty: writing a figure down changes no code.
    """
    head = _git(root, "rev-parse", "--short=12", "HEAD")
    if not head:
        return Commit(id="unknown", dirty=True)
    # Files that git does not know count too: a benchmark may import them.
    changed = _git(root, "status", "--porcelain", "--", ".", ":(exclude)bench/results")
    return Commit(id=head, dirty=changed != "")


def _git(root: Path, *arguments: str) -> str | None:
    """Return what git printed, or None if it failed."""
    if shutil.which("git") is None:
        return None
    done = subprocess.run(
        ["git", "--no-optional-locks", "-C", str(root), *arguments],
        capture_output=True,
        text=True,
        timeout=GIT_TIMEOUT_S,
        check=False,
    )
    return done.stdout.strip() if done.returncode == 0 else None


def _first(path: str, key: str, separator: str) -> str:
    """Return the value of the first `key` in a file of key-value lines, or ""."""
    try:
        text = Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    for line in text.splitlines():
        name, found, value = line.partition(separator)
        if found and name.strip() == key:
            return value.strip()
    return ""
