"""front_probe: answers, refuses or is silent are told apart, within a bound."""

import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from shoal.adapters.runtime.front_probe import FrontAnswer, probe_front, wait_for_front
from shoal.core.errors import BadInput


class _Foreign(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_error(503)

    def log_message(self, *_: object) -> None:
        pass


class _Unwilling(_Foreign):
    def version_string(self) -> str:
        return "shoal"


@pytest.fixture
def silent() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


@pytest.fixture
def refusing() -> Iterator[int]:
    # Bound and not listening: nobody else can take the port meanwhile.
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield bound.getsockname()[1]


@pytest.mark.parametrize(
    ("handler", "answer"), [(_Unwilling, FrontAnswer.ANSWERS), (_Foreign, FrontAnswer.FOREIGN)]
)
def test_any_status_of_an_agent_is_an_answer_and_none_of_another_program(
    handler: type[BaseHTTPRequestHandler], answer: FrontAnswer
) -> None:
    with HTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        assert probe_front(f"http://127.0.0.1:{server.server_port}") is answer
        thread.join()


def test_a_program_that_speaks_no_http_is_another() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(b"SSH-2.0-other\r\n")

        thread = threading.Thread(target=answer)
        thread.start()
        probed = probe_front(f"http://127.0.0.1:{listener.getsockname()[1]}")
        thread.join()
    assert probed is FrontAnswer.FOREIGN


def test_a_port_nobody_listens_on_refuses(refusing: int) -> None:
    assert probe_front(f"http://127.0.0.1:{refusing}") is FrontAnswer.REFUSES


def test_a_port_that_accepts_and_says_nothing_is_silent(silent: int) -> None:
    assert probe_front(f"http://127.0.0.1:{silent}", timeout_s=0.05) is FrontAnswer.SILENT


def test_waiting_ends(refusing: int) -> None:
    assert wait_for_front(f"http://127.0.0.1:{refusing}", wait_s=0.25) is FrontAnswer.REFUSES


@pytest.mark.parametrize("url", ["https://127.0.0.1:1", "127.0.0.1:65001", "http://", "ftp://x"])
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(BadInput, match="not an agent's address"):
        probe_front(url)
