"""Floods and connections that never end: a whole agent bounds them, and others are served."""

import asyncio
import time

from agent.conftest import PATIENCE_S, SLACK_S, Agent, Client, Registry


async def test_floods_of_headers_and_urls_are_refused_and_not_repeated_in_the_log(
    agent: Agent, registry: Registry, client: Client
) -> None:
    asked, mark = registry.asked(), agent.mark()
    host = f"Host: 127.0.0.1:{agent.port}\r\n"
    floods = [
        "GET /v2/ HTTP/1.1\r\n" + host + "Authorization: Basic " + "S3CRET" * 20_000 + "\r\n\r\n",
        "GET /v2/ HTTP/1.1\r\n" + host + "X-A: y\r\n" * 50_000 + "\r\n",
        "GET /v2/" + "a" * 500_000 + "/manifests/v1 HTTP/1.1\r\n" + host + "\r\n",
        "GET /v2/?" + "ns=a&" * 50_000 + " HTTP/1.1\r\n" + host + "\r\n",
        "G" * 500_000,
        "\x00" * 500_000,
    ]
    answers = await asyncio.gather(*(client.raw(flood.encode()) for flood in floods * 5))
    # One that was still sending when it was refused may have lost the answer: it was cut.
    statuses = {answer.split(b" ", 2)[1] for answer in answers if answer}
    assert statuses <= {b"400", b"414", b"431"}
    assert registry.asked() == asked
    agent.said('"cause": "bad-request"', since=mark)
    assert "S3CRET" not in agent.log.read_text(encoding="utf-8")
    await client.works()


async def test_half_open_and_dripping_connections_end_after_ten_seconds_and_bother_nobody(
    agent: Agent, client: Client
) -> None:
    mark = agent.mark()
    began_s = time.monotonic()
    request = f"GET /v2/ HTTP/1.1\r\nHost: 127.0.0.1:{agent.port}\r\n".encode()

    async def drip() -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", agent.port)
        try:
            for letter in request + b"X-Slow: " + b"y" * 1000:
                if reader.at_eof():
                    break
                writer.write(bytes((letter,)))
                await asyncio.sleep(0.2)
            return b"" if reader.at_eof() else b"still open"
        except ConnectionError:
            return b""
        finally:
            writer.close()

    held = [client.raw(text) for text in [b"", request] * 100]
    waiting = asyncio.gather(*held, drip())
    await asyncio.sleep(1)
    await client.works()
    assert await waiting == [b""] * 201
    assert PATIENCE_S - 1 < time.monotonic() - began_s < PATIENCE_S + SLACK_S
    agent.noted('"cause": "half-open", "reason": "no complete request within 10 s', since=mark)
