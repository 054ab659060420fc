"""Why an address cannot be listened on: which process has the port, and which setting to change."""

import contextlib
import errno
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path

from shoal.core.errors import SettingsError

# Source: Linux include/net/tcp_states.h, as printed in the column `st` of /proc/net/tcp.
_LISTEN = "0A"
# A node has tens of listeners and some thousands of descriptors; this only bounds the work.
_MAX_LINES = 100_000
_MAX_PROCESSES = 50_000


@dataclass(frozen=True, slots=True)
class Owner:
    """A process that listens."""

    pid: int
    name: str

    def __str__(self) -> str:
        return f"{self.name} (process {self.pid})"


def explain_bind_error(
    host: str, port: int, setting_key: str, error: OSError, *, proc: Path = Path("/proc")
) -> SettingsError:
    """Return the error to raise when listening on `host` and `port` failed.

    Args:
        host: the IP address that was tried.
        port: the TCP port that was tried.
        setting_key: what names the port in the settings, as `front.port`.
        error: what `bind` or `listen` raised.
        proc: where the kernel tells about processes.
    """
    at = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    section = setting_key.rpartition(".")[0]
    match error.errno:
        case errno.EADDRINUSE:
            owner = find_listener(host, port, proc=proc)
            if owner is None:
                by = "by a process that cannot be seen from here"
            elif _is_shoal(owner, proc):
                by = f"by another agent, {owner}"
            else:
                by = f"by {owner}"
            return SettingsError(
                f"cannot listen on {at}: the port is in use {by}; stop it, or set {setting_key} "
                f"to a free port"
            )
        case errno.EADDRNOTAVAIL:
            return SettingsError(
                f"cannot listen on {at}: this machine does not have the address; change "
                f"{section}.hosts"
            )
        case errno.EACCES | errno.EPERM:
            return SettingsError(
                f"cannot listen on {at}: this user may not; ports below 1024 need the capability "
                f"CAP_NET_BIND_SERVICE; set {setting_key} to a port above"
            )
        case _:
            reason = error.strerror or str(error)
            return SettingsError(f"cannot listen on {at}: {reason} (setting {setting_key})")


def find_listener(host: str, port: int, *, proc: Path = Path("/proc")) -> Owner | None:
    """Return the process that keeps `host` and `port` from being bound, if it can be seen."""
    inodes = set(_listening_inodes(ip_address(host), port, proc))
    if not inodes:
        return None
    wanted = {f"socket:[{inode}]" for inode in inodes}
    pids = (entry.name for entry in _entries(proc) if entry.name.isdecimal())
    for _, pid in zip(range(_MAX_PROCESSES), pids, strict=False):
        for descriptor in _entries(proc / pid / "fd"):
            with contextlib.suppress(OSError):
                if str(descriptor.readlink()) in wanted:
                    return Owner(int(pid), _name_of(int(pid), proc))
    return None


def _listening_inodes(wanted: IPv4Address | IPv6Address, port: int, proc: Path) -> Iterator[str]:
    for table in ("tcp", "tcp6"):
        try:
            # Of this process's network namespace: others cannot be in the way.
            file = (proc / "self" / "net" / table).open(encoding="ascii", errors="replace")
        except OSError:
            continue
        with file:
            for _, line in zip(range(_MAX_LINES), file, strict=False):
                columns = line.split()
                if len(columns) < 10 or columns[3] != _LISTEN:
                    continue
                address_hex, _, port_hex = columns[1].partition(":")
                if int(port_hex, 16) != port:
                    continue
                bound = _address(address_hex)
                if (
                    bound == wanted
                    or bound.is_unspecified
                    # A wildcard of IPv6 may take IPv4 too, unless told otherwise.
                    or (wanted.is_unspecified and wanted.version >= bound.version)
                ):
                    yield columns[9]


def _address(text: str) -> IPv4Address | IPv6Address:
    """Return an address as /proc/net/tcp prints it: 32-bit words in the machine's byte order."""
    words = [int(text[i : i + 8], 16) for i in range(0, len(text), 8)]
    packed = b"".join(socket.ntohl(word).to_bytes(4, "big") for word in words)
    return ip_address(packed)


def _entries(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError:
        return []


def _name_of(pid: int, proc: Path) -> str:
    try:
        return (proc / str(pid) / "comm").read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return "unknown"


def _is_shoal(owner: Owner, proc: Path) -> bool:
    try:
        words = (proc / str(owner.pid) / "cmdline").read_bytes().split(b"\0")
    except OSError:
        return False
    names = [word.rpartition(b"/")[2] for word in words[:4]]
    return b"shoal" in names and b"agent" in words
