"""A service of the node, seen and restarted from a privileged pod that has the node's processes."""

import os
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

from shoal.core.errors import ShoalError

_TIMEOUT_S = 120.0
_RESOLUTION_S = 2.0
_MAX_PROCESSES = 50_000

Run = Callable[[Sequence[str]], None]


def on_the_node(command: Sequence[str]) -> None:
    """Run a command in the namespaces of the node's first process.

    Raises:
        ShoalError: it failed, or took longer than two minutes.
    """
    inside = ["nsenter", "--target=1", "--mount", "--uts", "--ipc", "--net", "--pid", "--"]
    try:
        done = subprocess.run(
            [*inside, *command], capture_output=True, text=True, timeout=_TIMEOUT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as exc:
        raise ShoalError(f"{' '.join(command)}: {exc}") from exc
    if done.returncode != 0:
        raise ShoalError(f"{' '.join(command)}: {done.stderr.strip()[-512:] or 'failed'}")


class HostService:
    """One service by its name, which is its program's too."""

    def __init__(self, name: str, *, run: Run = on_the_node, proc: Path = Path("/proc")) -> None:
        """Look after the service `name`.

        Args:
            name: of the systemd unit and of the program.
            run: runs a command on the node. Raises ShoalError.
            proc: where the kernel tells about processes.
        """
        self.name = name
        self._run = run
        self._proc = proc

    def restart(self) -> None:
        """Restart it; containers go on.

        Raises:
            ShoalError: it could not be.
        """
        self._run(["systemctl", "restart", self.name])

    def reload(self) -> None:
        """Have it read its files again.

        Raises:
            ShoalError: it could not be told.
        """
        self._run(["systemctl", "reload", self.name])

    def is_older_than(self, path: Path) -> bool:
        """Return whether a process of it runs that was there before `path` was last changed.

        The change is that of the file's inode, which a rename makes too, whatever its times say.
        The kernel tells starts to a second or so: what happened within two is taken for after.
        """
        changed_s = path.stat().st_ctime
        return any(started_s + _RESOLUTION_S < changed_s for started_s in self._starts())

    def _starts(self) -> list[float]:
        """Return when each process of that name was started, as Unix times."""
        found = []
        try:
            boot_s = _boot_time(self._proc)
            names = sorted(os.listdir(self._proc))[:_MAX_PROCESSES]  # noqa: PTH208
        except (OSError, ValueError):
            return []
        for name in filter(str.isdecimal, names):
            try:
                text = (self._proc / name / "stat").read_text(encoding="utf-8", errors="replace")
            except OSError:
                continue  # it has ended
            comm, _, rest = text.partition("(")[2].rpartition(")")
            if comm == self.name:
                # Field 22 of proc(5), counted from the third, which follows the name.
                found.append(boot_s + int(rest.split()[19]) / os.sysconf("SC_CLK_TCK"))
        return found


def _boot_time(proc: Path) -> float:
    for line in (proc / "stat").read_text(encoding="ascii").splitlines():
        if line.startswith("btime "):
            return float(line.split()[1])
    raise ValueError("no btime")
