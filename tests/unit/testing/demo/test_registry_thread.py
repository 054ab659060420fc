"""The registry in a thread."""

import http.client
import socket
import time

import pytest

from shoal.testing.demo.failures import AddressTaken, DemoFailed
from shoal.testing.demo.registry_thread import RegistryThread
from shoal.testing.registry_content import RegistryContent
from unit.ports import free_port

DATA = b"x" * 5000


def registry(content: RegistryContent, *, port: int, host: str = "127.0.0.1") -> RegistryThread:
    """Return one that was not started."""
    return RegistryThread(content, host=host, port=port, rate_bytes_per_s=None)


def test_it_serves_and_counts_until_it_is_stopped() -> None:
    content = RegistryContent()
    digest = content.add_blob(DATA, repository="shoal/demo")
    port = free_port()
    thread = registry(content, port=port)
    assert thread.address == f"127.0.0.1:{port}"
    thread.start()
    try:
        client = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        client.request("GET", f"/v2/shoal/demo/blobs/{digest}")
        assert client.getresponse().read() == DATA
        client.close()
        # Counted once they are sent: the client may have read them before.
        until = time.monotonic() + 60
        while thread.sent_bytes < len(DATA) and time.monotonic() < until:
            time.sleep(0.01)
        assert thread.sent_bytes == len(DATA)
    finally:
        thread.stop()
        thread.stop()
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", port), timeout=5)


def test_a_port_in_use_is_told_so_that_another_is_tried() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = registry(RegistryContent(), port=server.getsockname()[1])
        with pytest.raises(AddressTaken, match=r"cannot listen on 127\.0\.0\.1"):
            thread.start()
    thread.stop()


def test_an_address_that_the_machine_lacks_is_a_failure() -> None:
    thread = registry(RegistryContent(), port=0, host="192.0.2.1")
    with pytest.raises(DemoFailed, match=r"cannot listen on 192\.0\.2\.1"):
        thread.start()
    thread.stop()


def test_one_that_was_never_started_can_be_stopped() -> None:
    registry(RegistryContent(), port=0).stop()
