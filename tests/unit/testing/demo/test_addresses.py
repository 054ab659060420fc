"""Which loopback addresses a demo takes."""

import errno
import socket

import pytest

from shoal.testing.demo.addresses import Addresses, NodeAddress, choose_addresses, probe
from shoal.testing.demo.failures import DemoFailed


def free(_host: str, _port: int) -> None:
    """Say that everything is free."""


def test_every_node_has_an_address_of_its_own_with_the_usual_ports() -> None:
    found = choose_addresses(3, probe=free, random_below=lambda _: 7)
    assert found.registry == "127.8.7.254:5000"
    assert [node.front for node in found.nodes] == [f"127.8.7.{n}:65001" for n in (1, 2, 3)]
    assert found.nodes[0].peer == "127.8.7.1:65002"
    assert found.nodes[0].exporter == "127.8.7.1:65003"


def test_every_listener_is_probed() -> None:
    asked: list[tuple[str, int]] = []
    found = choose_addresses(2, probe=lambda host, port: asked.append((host, port)))
    assert asked == list(found.listeners())
    assert len(set(asked)) == 1 + 2 * 3


def test_other_ports_are_taken_where_somebody_listens_on_all_addresses() -> None:
    def busy(_host: str, port: int) -> None:
        if port == 65002:
            raise OSError(errno.EADDRINUSE, "Address already in use")

    found = choose_addresses(2, probe=busy)
    ports = {port for _, port in found.listeners()}
    assert len(ports) == 4
    assert all(20_000 <= port < 32_768 for port in ports)


def test_a_machine_without_such_addresses_is_told_at_once() -> None:
    asked: list[str] = []

    def absent(host: str, _port: int) -> None:
        asked.append(host)
        raise OSError(errno.EADDRNOTAVAIL, "Cannot assign requested address")

    with pytest.raises(DemoFailed, match=r"cannot listen on loopback.*Cannot assign"):
        choose_addresses(2, probe=absent)
    assert len(asked) == 1


def test_the_search_ends() -> None:
    def busy(_host: str, _port: int) -> None:
        raise OSError(errno.EADDRINUSE, "Address already in use")

    with pytest.raises(DemoFailed, match="already in use"):
        choose_addresses(1, probe=busy)


def test_a_port_that_is_listened_on_is_seen() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with pytest.raises(OSError, match="in use"):
            probe("127.0.0.1", port)
    probe("127.0.0.1", port)


def test_listeners_of_nodes_differ_from_the_registry() -> None:
    addresses = Addresses("127.1.1.254", 5000, (NodeAddress("127.1.1.1", 20_000),))
    assert list(addresses.listeners()) == [
        ("127.1.1.254", 5000),
        ("127.1.1.1", 20_000),
        ("127.1.1.1", 20_001),
        ("127.1.1.1", 20_002),
    ]
