"""Listening sockets."""

import socket

import pytest

from shoal.agent.front import listening
from shoal.agent.front.listening import listen
from shoal.core.errors import SettingsError

# Source: RFC 5737: addresses that no machine has.
ABSENT = "192.0.2.1"


def test_all_sockets_get_the_one_port_that_the_kernel_chose() -> None:
    sockets = listen(("127.0.0.1", "127.0.0.2"), port=0, setting="front")
    try:
        ports = {sock.getsockname()[1] for sock in sockets}
        assert len(ports) == 1
        assert ports != {0}
    finally:
        for sock in sockets:
            sock.close()


def test_an_address_that_the_machine_lacks_is_no_error() -> None:
    (sock,) = listen(("127.0.0.1", ABSENT), port=0, setting="front")
    sock.close()


def test_having_none_of_the_addresses_is_one() -> None:
    with pytest.raises(SettingsError, match=r"front\.hosts: .*192\.0\.2\.1"):
        listen((ABSENT,), port=0, setting="front")


def test_a_port_in_use_names_the_setting_and_leaves_nothing_open() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(SettingsError, match=r"peer\.port"):
            listen(("127.0.0.2", "127.0.0.1"), port=port, setting="peer")
        socket.create_server(("127.0.0.2", port)).close()


def test_ipv4_and_ipv6_share_a_port() -> None:
    sockets = listen(("127.0.0.1", "::1"), port=0, setting="front")
    assert len({sock.getsockname()[1] for sock in sockets}) == 1
    for sock in sockets:
        sock.close()


def test_a_port_that_the_kernel_chose_is_chosen_again_where_another_address_lacks_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with socket.create_server(("127.0.0.2", 0)) as taken:
        choices = [taken.getsockname()[1], 0]
        bind = listening._bound

        def chosen(host: str, port: int) -> socket.socket:
            return bind(host, choices.pop(0) if port == 0 else port)

        monkeypatch.setattr(listening, "_bound", chosen)
        sockets = listen(("127.0.0.1", "127.0.0.2"), port=0, setting="front")
        assert {sock.getsockname()[1] for sock in sockets} != {taken.getsockname()[1]}
        assert choices == []
        for sock in sockets:
            sock.close()
