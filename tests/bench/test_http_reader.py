"""The cheap client of benchmarks."""

import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from bench.http_reader import read_all


@contextmanager
def _answering(*answers: bytes, asked: list[bytes] | None = None) -> Iterator[int]:
    """Serve one connection: each request gets the next answer, then it is closed."""
    with socket.create_server(("127.0.0.1", 0)) as listener, ThreadPoolExecutor(1) as pool:
        listener.settimeout(60)

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.settimeout(60)
                for answer in answers:
                    request = b""
                    while not request.endswith(b"\r\n\r\n"):
                        request += connection.recv(4096)
                    if asked is not None:
                        asked.append(request)
                    connection.sendall(answer)

        served = pool.submit(serve)
        yield int(listener.getsockname()[1])
        served.result(60)


def test_paths_are_read_one_after_the_other_over_one_connection() -> None:
    small = b"HTTP/1.1 404 Not Found\r\nContent-Length: 3\r\n\r\nabc"
    large = b"HTTP/1.1 200 OK\r\ncontent-length: 3000000\r\n\r\n" + bytes(3_000_000)
    with _answering(small, large) as port:
        first, second = read_all("127.0.0.1", port, ["/a", "/b"])
    assert first[:2] == (404, 3)
    assert second[:2] == (200, 3_000_000)
    assert second[2] > 0


def test_of_the_last_path_only_the_last_byte_is_asked_for() -> None:
    asked: list[bytes] = []
    whole = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nab"
    part = b"HTTP/1.1 206 Partial Content\r\nContent-Length: 1\r\n\r\nb"
    with _answering(whole, part, asked=asked) as port:
        first, second = read_all("127.0.0.1", port, ["/a", "/b"], last_byte=True)
    assert (first[:2], second[:2]) == ((200, 2), (206, 1))
    assert [b"\r\nRange: bytes=-1\r\n" in request for request in asked] == [False, True]


def test_a_body_that_is_cut_is_told() -> None:
    with (
        _answering(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc") as port,
        pytest.raises(SystemExit, match="cut after 3 of 10 bytes"),
    ):
        read_all("127.0.0.1", port, ["/a"])
