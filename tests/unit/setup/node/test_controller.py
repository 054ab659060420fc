"""Controller: asked over TLS by its name, with this pod's token, within bounds."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from shoal.setup.node.controller import Condition, Controller, ControllerError
from shoal.testing.certificates import PrivateAuthority

NAME = "ack-acr-acceleration-p2p-controller.ns.svc"


class Served:
    """A controller on a port of its own: what it was asked, and what it answers."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, dict[str, str], dict[str, str]]] = []
        self.status = 200
        self.answer: bytes = b"{}"
        self.headers: dict[str, str] = {}
        self.port = 0


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    it = Served()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            it.asked.append((self.path, dict(self.headers), json.loads(body)))
            self.send_response(it.status)
            for name, value in {**it.headers, "Content-Length": str(len(it.answer))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(it.answer)

        def log_message(self, *_: object) -> None:
            pass

    authority = PrivateAuthority(tmp_path)
    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        server.socket = authority.server_context(NAME).wrap_socket(server.socket, server_side=True)
        it.port = server.server_port
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield it
        server.shutdown()
        thread.join()


@pytest.fixture
def controller(served: Served, tmp_path: Path) -> Controller:
    (tmp_path / "token").write_text("the-token\n")
    return _controller(served, tmp_path)


def _controller(served: Served, tmp_path: Path, *, namespace: str = "ns") -> Controller:
    return Controller(
        namespace=namespace,
        host="127.0.0.1",
        port=served.port,
        authority=tmp_path / "ca.pem",
        token=tmp_path / "token",
    )


def test_a_request_for_a_certificate_brings_it_and_the_authorities(
    served: Served, controller: Controller
) -> None:
    served.answer = b'{"certificate": "CERT", "ca": "CA"}'
    signed = controller.sign("CSR")
    assert (signed.certificate, signed.authorities) == ("CERT", "CA")
    ((path, headers, body),) = served.asked
    assert (path, body) == ("/v1/certificates", {"csr": "CSR"})
    assert headers["Authorization"] == "Bearer the-token"


def test_a_report_brings_what_the_node_says_of_its_runtime(
    served: Served, controller: Controller
) -> None:
    served.answer = b'{"containerRuntimeVersion": "containerd://1.7.28"}'
    assert controller.report(Condition("False", "AgentDown", "why")) == "containerd://1.7.28"
    ((path, _, body),) = served.asked
    assert path == "/v1/reports"
    assert body == {"status": "False", "reason": "AgentDown", "message": "why"}
    served.answer = b"{}"
    assert controller.report(Condition("True", "Installed", "")) == ""


@pytest.mark.parametrize(
    ("status", "answer", "message"),
    [
        (403, b'{"message": "not this node"}', "403 for /v1/certificates: not this node"),
        (500, b"oops", "500 for /v1/certificates: Internal Server Error"),
        (200, b"[]", "no JSON object"),
        (200, b'{"certificate": 1}', "no certificate"),
        (200, b"{" + b" " * 2**17 + b"}", "no JSON object"),
    ],
)
def test_what_is_no_answer_is_told(
    served: Served, controller: Controller, status: int, answer: bytes, message: str
) -> None:
    served.status, served.answer = status, answer
    with pytest.raises(ControllerError, match=message):
        controller.sign("CSR")


def test_a_controller_that_is_busy_says_for_how_long(
    served: Served, controller: Controller
) -> None:
    served.status, served.headers = 503, {"Retry-After": "7"}
    with pytest.raises(ControllerError) as caught:
        controller.report(Condition("True", "Installed", ""))
    assert caught.value.retry_after_s == 7


def test_a_server_with_another_name_is_told_nothing(
    served: Served, controller: Controller, tmp_path: Path
) -> None:
    with pytest.raises(ControllerError, match="cannot be reached"):
        _controller(served, tmp_path, namespace="other").sign("CSR")
    assert served.asked == []


def test_what_is_missing_on_this_side_is_named(tmp_path: Path) -> None:
    controller = Controller(
        namespace="ns", host="127.0.0.1", port=1, authority=tmp_path / "ca", token=tmp_path / "t"
    )
    with pytest.raises(ControllerError, match=f"token {tmp_path}/t"):
        controller.sign("CSR")
    (tmp_path / "t").write_text("")
    with pytest.raises(ControllerError, match="holds no token"):
        controller.sign("CSR")
    (tmp_path / "t").write_text("token")
    with pytest.raises(ControllerError, match=f"authority {tmp_path}/ca"):
        controller.sign("CSR")
