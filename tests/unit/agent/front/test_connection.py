"""FrontConnection: what cannot be parsed. More in test_server.py, over sockets."""

import logging
import ssl

import pytest

from shoal.agent.front.answers import Cause
from unit.agent.front.conftest import World


@pytest.mark.parametrize(
    "text",
    [
        b"GET /v2/ HTTP/1.1\r\nAuthorization Basic S3CRET\r\n\r\n",
        b"GET /v2/ HTTP/1.1\r\nContent-Length: -1\r\nAuthorization: S3CRET\r\n\r\n",
        b"GET /v2/ HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\nS3CRET",
        b"S3CRET\x00\xff\r\n\r\n",
    ],
)
async def test_a_malformed_request_is_a_400_that_repeats_nothing_of_it(
    world: World, text: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    answer = await world.raw(text)
    assert answer.startswith((b"HTTP/1.1 400 ", b"HTTP/1.0 400 "))
    assert b"S3CRET" not in answer
    assert "S3CRET" not in caplog.text
    assert (await world.ask_url("GET", f"{world.base}/v2/")).status == 200


async def test_a_client_that_tries_tls_first_is_answered_in_http_and_is_no_warning(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    outgoing = ssl.MemoryBIO()
    context = ssl.create_default_context()
    hello = context.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname="registry.example.com")
    with pytest.raises(ssl.SSLWantReadError):
        hello.do_handshake()
    with caplog.at_level(logging.INFO, logger="shoal.agent.front"):
        answer = await world.raw(outgoing.read())
    assert answer.startswith(b"HTTP/1.0 400 ")  # Go looks at the first five bytes
    assert world.metrics.causes == [Cause.TLS]
    refused = [r for r in caplog.records if r.getMessage() == "front_request_refused"]
    assert [record.levelno for record in refused] == [logging.INFO]


async def test_a_body_that_never_ends_is_not_waited_for(world: World) -> None:
    host = f"127.0.0.1:{world.front.port}".encode()
    head = b"PUT /v2/x/manifests/y HTTP/1.1\r\nHost: " + host + b"\r\nContent-Length: 99999\r\n\r\n"
    answer = await world.raw(head + b"only this", timeout_s=8.0)
    assert answer.startswith(b"HTTP/1.1 405 ")


async def test_pipelined_requests_are_answered_in_order(world: World) -> None:
    host = f"127.0.0.1:{world.front.port}"
    one = f"GET /v2/ HTTP/1.1\r\nHost: {host}\r\n\r\n"
    last = f"GET /healthz HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
    answer = await world.raw((one * 5 + last).encode())
    assert answer.count(b"HTTP/1.1 200 OK") == 6
    assert answer.endswith(b'{"status":"ok"}\n')
