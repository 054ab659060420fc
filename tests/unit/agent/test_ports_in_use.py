"""Who has a port: from a real listener, and from tables as the kernel prints them."""

import errno
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from shoal.agent.ports_in_use import Owner, explain_bind_error, find_listener

# Two listeners as on a little-endian machine: 127.0.0.1:65001 and [::]:65002; and one connection
# that is established on 65001, which is in nobody's way.
_HEAD = (
    "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout "
    "inode\n"
)
_TCP = (
    _HEAD
    + "   0: 0100007F:FDE9 00000000:0000 0A 00000000:00000000 00:00000000 00000000 0 0 1111 1\n"
    + "   1: 0200007F:FDE9 0100007F:1234 01 00000000:00000000 00:00000000 00000000 0 0 2222 1\n"
)
_TCP6 = (
    _HEAD
    + "   0: 00000000000000000000000000000000:FDEA 00000000000000000000000000000000:0000 0A "
    + "00000000:00000000 00:00000000 00000000 0 0 3333 1\n"
)


@pytest.fixture
def proc(tmp_path: Path) -> Path:
    """A /proc with two processes that listen."""
    net = tmp_path / "self" / "net"
    net.mkdir(parents=True)
    (net / "tcp").write_text(_TCP, encoding="ascii")
    (net / "tcp6").write_text(_TCP6, encoding="ascii")
    for pid, name, command, inode in (
        (41, "registry", b"registry\0serve\0", 1111),
        (42, "python3", b"/usr/bin/python3\0/usr/bin/shoal\0agent\0", 3333),
    ):
        folder = tmp_path / str(pid)
        (folder / "fd").mkdir(parents=True)
        (folder / "fd" / "3").symlink_to(f"socket:[{inode}]")
        (folder / "fd" / "4").symlink_to("/dev/null")
        (folder / "comm").write_text(f"{name}\n", encoding="ascii")
        (folder / "cmdline").write_bytes(command)
    return tmp_path


_IN_USE = OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))


@pytest.mark.parametrize(
    ("host", "port", "pid"),
    [
        ("127.0.0.1", 65001, 41),
        ("0.0.0.0", 65001, 41),
        ("::", 65001, 41),
        ("127.0.0.2", 65001, None),
        ("::1", 65001, None),
        ("::1", 65002, 42),
        ("127.0.0.1", 65002, 42),
        ("127.0.0.1", 65003, None),
    ],
)
def test_the_listener_in_the_way_is_found(
    proc: Path, host: str, port: int, pid: int | None
) -> None:
    owner = find_listener(host, port, proc=proc)
    assert (owner.pid if owner else None) == pid


def test_the_message_names_process_and_setting(proc: Path) -> None:
    error = explain_bind_error("127.0.0.1", 65001, "front.port", _IN_USE, proc=proc)
    assert error.exit_code == 78
    assert str(error) == (
        "cannot listen on 127.0.0.1:65001: the port is in use by registry (process 41); "
        "stop it, or set front.port to a free port"
    )


def test_another_agent_is_called_one(proc: Path) -> None:
    error = explain_bind_error("::1", 65002, "peer.port", _IN_USE, proc=proc)
    assert "[::1]:65002: the port is in use by another agent, python3 (process 42)" in str(error)


def test_a_process_that_cannot_be_seen_is_not_guessed(proc: Path) -> None:
    (proc / "41" / "fd" / "3").unlink()
    error = explain_bind_error("127.0.0.1", 65001, "front.port", _IN_USE, proc=proc)
    assert "by a process that cannot be seen from here; stop it, or set front.port" in str(error)
    nowhere = proc / "nowhere"
    assert find_listener("127.0.0.1", 65001, proc=nowhere) is None


@pytest.mark.parametrize(
    ("number", "message"),
    [
        (errno.EADDRNOTAVAIL, "this machine does not have the address; change front.hosts"),
        (errno.EACCES, "CAP_NET_BIND_SERVICE"),
        (errno.ENOBUFS, "No buffer space available (setting front.port)"),
    ],
)
def test_other_reasons_are_told_as_they_are(number: int, message: str) -> None:
    error = OSError(number, os.strerror(number))
    assert message in str(explain_bind_error("10.9.9.9", 80, "front.port", error))


@pytest.fixture(params=["127.0.0.1", "::1"])
def listener(request: pytest.FixtureRequest) -> Iterator[socket.socket]:
    family = socket.AF_INET6 if ":" in request.param else socket.AF_INET
    with socket.socket(family) as sock:
        try:
            sock.bind((request.param, 0))
        except OSError:
            pytest.skip(f"no {request.param} here")
        sock.listen()
        yield sock


def test_this_process_is_found_by_the_kernels_own_tables(listener: socket.socket) -> None:
    host, port = listener.getsockname()[:2]
    name = Path("/proc/self/comm").read_text(encoding="ascii").strip()
    assert find_listener(host, port) == Owner(os.getpid(), name)
