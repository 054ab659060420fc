"""Listening sockets on those of the configured addresses that the machine has."""

import errno
import socket
from collections.abc import Sequence
from ipaddress import ip_address

from shoal.agent.ports_in_use import explain_bind_error
from shoal.core.errors import SettingsError

# The machine has no such address, or no such protocol: ::1 with IPv6 switched off.
_ABSENT = frozenset({errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT, errno.EPROTONOSUPPORT})
_BACKLOG = 256
# What the kernel finds free on the first address may be taken on the next: then it is asked again.
_CHOICES_MOST = 20


def listen(hosts: Sequence[str], *, port: int, setting: str) -> list[socket.socket]:
    """Return listening sockets on `port` of those of `hosts` that the machine has.

    Args:
        hosts: IP addresses.
        port: 0 lets the kernel choose; all sockets then get the same.
        setting: the settings' section to name in errors, such as `front`.

    Raises:
        SettingsError: the port is taken, may not be used, or the machine has none of the addresses.
    """
    for _ in range(_CHOICES_MOST - 1 if port == 0 else 0):
        try:
            return _listen(hosts, port, setting)
        except SettingsError as error:
            if not _is_taken(error):
                raise
    return _listen(hosts, port, setting)


def _is_taken(error: SettingsError) -> bool:
    return isinstance(error.__cause__, OSError) and error.__cause__.errno == errno.EADDRINUSE


def _listen(hosts: Sequence[str], port: int, setting: str) -> list[socket.socket]:
    sockets: list[socket.socket] = []
    absent: list[str] = []
    try:
        for host in hosts:
            try:
                sockets.append(_bound(host, port))
            except OSError as error:
                if error.errno not in _ABSENT:
                    raise explain_bind_error(host, port, f"{setting}.port", error) from error
                absent.append(host)
                continue
            port = sockets[0].getsockname()[1]
        if not sockets:
            raise SettingsError(
                f"{setting}.hosts: this machine has none of {', '.join(absent)}: "
                f"name an address that it has"
            )
    except BaseException:
        for sock in sockets:
            sock.close()
        raise
    return sockets


def _bound(host: str, port: int) -> socket.socket:
    is_v6 = ip_address(host).version == 6
    sock = socket.socket(socket.AF_INET6 if is_v6 else socket.AF_INET, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if is_v6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind((host, port))
        sock.listen(_BACKLOG)
        sock.setblocking(False)
    except BaseException:
        sock.close()
        raise
    return sock
