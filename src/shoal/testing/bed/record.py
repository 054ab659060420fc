"""Who owns a bed, what belongs to it, and how all of that is removed again.

Rule 1: everything that a bed makes on the machine is named after the bed or lies in its folder:
namespaces `shoal-<id>-*`, control groups `shoal-<id>`, mounts and files under the folder. So the
folder's record of its owner is all that a stranger needs to remove what a dead run left.

Rule 2: every process of a bed runs in one of its network namespaces. The namespaces therefore
list the processes, including the ones that containerd started, and no list of ids can go stale.
"""

import contextlib
import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from shoal.testing.bed.processes import BedError, run

PREFIX = "shoal-"
CGROUPS = Path("/sys/fs/cgroup")


def beds_folder() -> Path:
    """Return the folder that holds one folder for each bed: `SHOAL_BED_DIR`, else under /tmp."""
    named = os.environ.get("SHOAL_BED_DIR")
    return Path(named) if named else Path(tempfile.gettempdir()) / "shoal-bed"


def process_start(pid: int) -> int | None:
    """Return when process `pid` began, in clock ticks since boot, or None if there is none.

    With the id this names a process for good: ids are used again, start times are not.
    """
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    # proc(5): field 22; counted after the command, which is in parentheses and may hold blanks.
    return int(stat.rpartition(")")[2].split()[19])


@dataclass(frozen=True, slots=True)
class Record:
    """One bed's identity: its id, its folder and the process that owns it."""

    bed_id: str
    folder: Path
    owner_pid: int
    owner_start: int
    label: str = ""  # what the bed is for, if someone may look for it by that

    @classmethod
    def create(cls, *, label: str = "") -> "Record":
        """Claim a fresh bed id for this process."""
        bed_id = secrets.token_hex(3)
        folder = beds_folder() / bed_id
        folder.mkdir(parents=True)
        pid = os.getpid()
        record = cls(bed_id, folder, pid, process_start(pid) or 0, label)
        record.save()
        return record

    @classmethod
    def load(cls, folder: Path) -> "Record | None":
        """Read the record of the bed in `folder`, or None if it has none."""
        try:
            data = json.loads((folder / "bed.json").read_text())
            owner = int(data["owner_pid"]), int(data["owner_start"])
            return cls(folder.name, folder, *owner, label=str(data["label"]))
        except (OSError, ValueError, KeyError):
            return None

    @classmethod
    def every(cls) -> "list[Record]":
        """Return the records of all beds on this machine, live or dead."""
        if not beds_folder().is_dir():
            return []
        found = (cls.load(folder) for folder in sorted(beds_folder().iterdir()))
        return [record for record in found if record is not None]

    def save(self) -> None:
        """Write the record; the folder either has a whole one or none."""
        written = self.folder / "bed.json.new"
        owner = {"owner_pid": self.owner_pid, "owner_start": self.owner_start}
        written.write_text(json.dumps(owner | {"label": self.label}))
        written.rename(self.folder / "bed.json")

    @property
    def owner_alive(self) -> bool:
        """Whether the process that made the bed still runs."""
        return process_start(self.owner_pid) == self.owner_start and not is_dead(self.owner_pid)

    def namespace(self, name: str) -> str:
        """Return the full name of this bed's namespace `name`."""
        return f"{PREFIX}{self.bed_id}-{name}"

    @property
    def cgroup(self) -> str:
        """The name of the control group under which the bed's containers run."""
        return f"{PREFIX}{self.bed_id}"

    def namespaces(self) -> list[str]:
        """Return the bed's network namespaces that exist."""
        return [n for n in all_namespaces() if n.startswith(f"{PREFIX}{self.bed_id}-")]

    def remove(self, *, keep_folder: bool = False) -> None:
        """End every process of the bed and remove its namespaces, mounts, cgroups and folder."""
        namespaces = self.namespaces()
        for namespace in namespaces:
            kill_all_in(namespace)
        for namespace in namespaces:
            run(["ip", "netns", "del", namespace], check=False)
        _unmount_below(self.folder)
        _remove_cgroups(self.cgroup)
        if keep_folder:
            (self.folder / "bed.json").unlink(missing_ok=True)
        else:
            shutil.rmtree(self.folder, ignore_errors=True)
            with contextlib.suppress(OSError):
                self.folder.parent.rmdir()  # the last bed out leaves nothing at all


class Guard:
    """A process that waits for the end of this one, then removes what is left of a bed.

    It reads a pipe whose other end only this process holds, so that SIGKILL is noticed too.
    """

    def __init__(self, bed_id: str) -> None:
        clean = '{ read -r _ || true; } && exec "$0" -m shoal.testing.bed.clean "$1"'
        self._process = subprocess.Popen(
            ["/bin/sh", "-c", clean, sys.executable, bed_id],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def dismiss(self) -> None:
        """End it: the bed is gone."""
        self._process.kill()
        self._process.communicate(timeout=60)


def all_namespaces() -> list[str]:
    """Return the names of the network namespaces of every bed on this machine."""
    folder = Path("/run/netns")
    found = folder.iterdir() if folder.is_dir() else iter(())
    return sorted(entry.name for entry in found if entry.name.startswith(PREFIX))


def kill_all_in(namespace: str, *, timeout_s: float = 60.0) -> None:
    """SIGKILL every process in a bed's network namespace and wait until none is left.

    Raises:
        BedError: some process outlived `timeout_s`.
    """
    if not namespace.startswith(PREFIX):
        raise BedError(f"{namespace} is not a namespace of a bed: nothing was killed")
    give_up_s = time.monotonic() + timeout_s
    while pids := run(["ip", "netns", "pids", namespace], check=False).stdout.split():
        for pid in map(int, pids):
            if is_dead(pid):
                continue
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if all(is_dead(int(pid)) for pid in pids):
            return  # dead, and waiting for their parent to say so
        if time.monotonic() > give_up_s:
            raise BedError(f"processes {' '.join(pids)} in {namespace} do not die")
        time.sleep(0.01)


def is_dead(pid: int) -> bool:
    """Whether process `pid` is gone, or waits only for its parent to take note."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except OSError:
        return True


def _unmount_below(folder: Path) -> None:
    """Unmount everything mounted below `folder`, innermost first."""
    points = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()]
    for point in sorted((p for p in points if p.startswith(f"{folder}/")), reverse=True):
        run(["umount", "--lazy", point], check=False)


def _remove_cgroups(name: str) -> None:
    """Remove the control groups called `name` in every hierarchy, with what is below them."""
    for top in [CGROUPS / name, *CGROUPS.glob(f"*/{name}")]:
        below = [*top.rglob("*/"), top] if top.is_dir() else []
        for group in sorted(below, key=lambda path: len(path.parts), reverse=True):
            with contextlib.suppress(OSError):
                group.rmdir()
