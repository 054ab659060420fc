"""Front: requests from a socket to an answer, and the front's life."""

import asyncio
import contextlib
import json
import socket
import time

import aiohttp
import pytest

from shoal.agent.front.answers import Cause
from shoal.agent.front.limits import FrontLimits
from shoal.agent.settings import FrontSettings
from shoal.core.errors import SettingsError
from unit.agent.front.conftest import SOON_S, World, running, until


async def test_an_unknown_registry_is_a_404_within_200_ms_and_nobody_is_asked(
    world: World,
) -> None:
    image = world.add_image()
    seconds = []
    for _ in range(5):
        began_s = time.monotonic()
        answer = await world.ask("GET", image.by_tag, ns="unknown.example")
        seconds.append(time.monotonic() - began_s)
        assert answer.status == 404
        assert json.loads(answer.body)["errors"][0]["code"] == "NAME_UNKNOWN"
    assert min(seconds) < 0.2  # on a busy machine not each of them
    assert world.requests() == 0
    assert world.metrics.causes == [Cause.UNKNOWN_REGISTRY] * 5


@pytest.mark.parametrize("path", ["/", "/v1/_ping", "/v2/_catalog", "/v2/app", "/favicon.ico"])
async def test_what_is_no_pull_is_a_404(world: World, path: str) -> None:
    assert (await world.get(path)).status == 404
    assert world.requests() == 0


async def test_a_push_fails_clearly(world: World) -> None:
    answer = await world.ask("POST", "/v2/team/app/blobs/uploads/")
    assert answer.status == 405
    assert answer.headers["Allow"] == "GET, HEAD"
    assert answer.headers["Connection"] == "close"
    assert json.loads(answer.body)["errors"][0]["code"] == "UNSUPPORTED"
    assert world.requests() == 0


async def test_a_ping_that_names_no_registry_is_answered_by_the_front(world: World) -> None:
    answer = await world.ask_url("GET", f"{world.base}/v2/")
    assert answer.status == 200
    assert answer.headers["Docker-Distribution-API-Version"] == "registry/2.0"
    assert world.requests() == 0


async def test_a_ping_of_a_registry_gets_its_challenge(private: World) -> None:
    answer = await private.get("/v2/")
    assert answer.status == 401
    assert answer.headers["WWW-Authenticate"].startswith("Basic ")


async def test_a_web_page_is_refused(world: World) -> None:
    image = world.add_image()
    for name in ("Origin", "Sec-Fetch-Site"):
        answer = await world.ask("GET", image.by_tag, headers={name: "https://evil.example"})
        assert answer.status == 403
    rebound = await world.ask("GET", image.by_tag, headers={"Host": "evil.example"})
    assert rebound.status == 403
    assert world.requests() == 0


async def test_the_registry_may_be_named_by_path(world: World) -> None:
    image = world.add_image()
    path = image.by_tag.replace("/v2/", f"/v2/{world.registry.address}/")
    answer = await world.ask_url("GET", world.base + path)
    assert (answer.status, answer.body) == (200, image.body)


async def test_the_registry_may_be_named_by_an_alias_in_the_host_header() -> None:
    async with running(aliases=("mirror.internal",)) as world:
        image = world.add_image()
        headers = {"Host": f"mirror.internal:{world.front.port}"}
        answer = await world.ask_url("GET", world.base + image.by_tag, headers=headers)
        assert (answer.status, answer.body) == (200, image.body)


async def test_ns_and_path_that_disagree_are_a_400() -> None:
    async with running(aliases=("mirror.internal",)) as world:
        answer = await world.get("/v2/mirror.internal/team/app/manifests/v1")
        assert answer.status == 404  # the same registry by two names: no disagreement
        other = await world.ask(
            "GET", f"/v2/{world.registry.address}/app/manifests/v1", ns="other.example"
        )
        assert other.status == 404  # not configured
        assert world.requests() == 1


async def test_the_default_registry_is_taken_when_none_is_named() -> None:
    async with running(is_default=True) as world:
        image = world.add_image()
        answer = await world.ask_url("GET", world.base + image.by_tag)
        assert (answer.status, answer.body) == (200, image.body)
        unknown = await world.ask_url("GET", f"{world.base}/v2/unknown.example/app/manifests/v1")
        assert unknown.status == 404
        assert world.requests() == 1


@pytest.mark.parametrize(
    "path",
    [
        "/v2/team/../../etc/manifests/v1",
        "/v2/team%2f..%2fapp/blobs/sha256:" + "a" * 64,
        "/v2/team/app/blobs/sha256:../../../etc/passwd",
        "/v2/team/app/blobs/sha256%3A" + "A" * 64,
        "/v2/team/app/manifests/" + "x" * 300,
        "/v2/team/app/manifests/..",
        "/v2//manifests/v1",
    ],
)
async def test_malformed_names_and_digests_are_refused_before_anybody_is_asked(
    world: World, path: str
) -> None:
    target = f"{path}?ns={world.ns}"
    host = f"127.0.0.1:{world.front.port}"
    text = f"GET {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
    answer = await world.raw(text.encode())
    assert answer.split(b" ", 2)[1] in (b"400", b"404")
    assert world.requests() == 0


async def test_a_flood_of_headers_or_url_is_refused_and_others_go_on(world: World) -> None:
    host = f"127.0.0.1:{world.front.port}"
    start = f"GET /v2/ HTTP/1.1\r\nHost: {host}\r\n"
    long_line = f"{start}Authorization: Basic {'S3CRET' * 2000}\r\n\r\n"
    assert b" 431 " in (answer := await world.raw(long_line.encode()))
    assert b"S3CRET" not in answer
    many = start + "".join(f"X-{i}: y\r\n" for i in range(2000)) + "\r\n"
    assert (await world.raw(many.encode())).split(b" ", 2)[1] in (b"400", b"431")
    url = f"GET /v2/{'a' * 20000}/manifests/v1 HTTP/1.1\r\nHost: {host}\r\n\r\n"
    assert (await world.raw(url.encode())).split(b" ", 2)[1] in (b"400", b"431")
    assert (await world.ask_url("GET", f"{world.base}/v2/")).status == 200


@pytest.mark.parametrize("text", [b"\x16\x03\x01\x02\x00\x01", b"HELO example\r\n\r\n"])
async def test_what_is_no_http_is_answered_and_closed(world: World, text: bytes) -> None:
    answer = await world.raw(text)
    assert answer == b"" or answer.split(b" ", 2)[1] == b"400"


async def test_half_open_connections_are_dropped(hasty: World) -> None:
    began_s = time.monotonic()
    for text in (b"", b"GET /v2/ HTTP/1.1\r\nHost: "):
        assert await hasty.raw(text) == b""
    assert time.monotonic() - began_s < SOON_S
    assert hasty.metrics.causes == [Cause.HALF_OPEN] * 2


async def test_a_request_that_drips_in_is_dropped(hasty: World) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", hasty.front.port)
    try:
        for letter in b"GET /v2/ HTTP/1.1\r\nHost: 127.0.0.1\r\n" * 4:
            if reader.at_eof() or reader.exception() is not None:
                break
            writer.write(bytes((letter,)))
            await asyncio.sleep(0.02)
        # A reset ends it as well: it depends on whether a letter was on its way.
        with contextlib.suppress(ConnectionError):
            async with asyncio.timeout(30.0):
                assert await reader.read() == b""
    finally:
        writer.close()
    assert hasty.metrics.causes == [Cause.HALF_OPEN]


async def test_an_idle_connection_that_was_used_stays_open(hasty: World) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", hasty.front.port)
    request = f"GET /v2/ HTTP/1.1\r\nHost: 127.0.0.1:{hasty.front.port}\r\n\r\n".encode()
    for _ in range(2):
        writer.write(request)
        assert (await reader.readuntil(b"{}")).startswith(b"HTTP/1.1 200 ")
        await asyncio.sleep(0.7)  # longer than a request may take
    writer.close()
    await writer.wait_closed()
    assert hasty.metrics.causes == []


async def test_more_connections_than_the_limit_are_answered_404_and_many_more_dropped() -> None:
    async with running(limits=FrontLimits(connections=2)) as world:
        kept = [await asyncio.open_connection("127.0.0.1", world.front.port) for _ in range(2)]
        await until(lambda: world.metrics.open_connections == 2)
        host = f"127.0.0.1:{world.front.port}"
        answer = await world.raw(f"GET /v2/ HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
        assert answer.startswith(b"HTTP/1.1 404 ")
        assert b"Connection: close" in answer
        kept += [await asyncio.open_connection("127.0.0.1", world.front.port) for _ in range(2)]
        await until(lambda: world.metrics.open_connections == 4)
        assert await world.raw(b"") == b""
        for _, writer in kept:
            writer.close()
        assert world.metrics.causes.count(Cause.CONNECTION_LIMIT) == 2


async def test_health_is_served_on_loopback(world: World) -> None:
    for path in ("/healthz", "/readyz"):
        answer = await world.ask_url("GET", world.base + path)
        assert (answer.status, json.loads(answer.body)) == (200, {"status": "ok"})


async def test_where_the_bytes_of_a_blob_come_from_can_be_asked(world: World) -> None:
    image = world.add_image()
    answer = await world.ask_url("GET", f"{world.base}/shoal/transfers/{image.layers[0]}")
    length = len(image.blobs[0])
    assert json.loads(answer.body) == {
        "length": length,
        "origin_bytes": 0,
        "peer_bytes": 0,
        "cached_bytes": length,
    }
    missing = await world.ask_url("GET", f"{world.base}/shoal/transfers/sha256:{'0' * 64}")
    assert missing.status == 404
    malformed = await world.ask_url("GET", f"{world.base}/shoal/transfers/etc")
    assert malformed.status == 400


async def test_an_unforeseen_error_is_a_404_with_a_log_line(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = world.add_image()
    monkeypatch.setattr(world.transfers, "open", None)
    assert (await world.head(image.by_tag)).status == 200
    answer = await world.get(image.by_digest)
    assert answer.status == 404
    assert world.metrics.causes == [Cause.FAULT]


async def test_the_front_listens_on_ipv6_where_there_is_any() -> None:
    async with running(settings=FrontSettings(hosts=("127.0.0.1", "::1"), port=0)) as world:
        try:
            with socket.create_connection(("::1", world.front.port), timeout=20):
                pass
        except OSError:
            pytest.skip("no IPv6 on this machine")
        url = f"http://[::1]:{world.front.port}/v2/"
        assert (await world.ask_url("GET", url)).status == 200


async def test_a_port_in_use_is_an_error_that_names_the_setting(world: World) -> None:
    with pytest.raises(SettingsError, match=r"front\.port"):
        async with running(settings=FrontSettings(port=world.front.port)):
            pass


async def test_stopping_lets_a_blob_end_and_takes_no_more_requests(world: World) -> None:
    image = world.add_image()
    world.transfers.arrive(image.layers[0], 10)
    assert (await world.head(image.blob())).status == 200
    async with world.session.get(world.url(image.blob())) as response:
        assert response.status == 200
        stopping = asyncio.ensure_future(world.front.stop(drain_timeout_s=30.0))
        await asyncio.sleep(0.05)
        with pytest.raises(OSError):  # noqa: PT011 - refused or reset
            await world.raw(b"GET / HTTP/1.1\r\n\r\n")
        world.transfers.arrive(image.layers[0], len(image.blobs[0]))
        assert await response.read() == image.blobs[0]
        await stopping


async def test_stopping_cuts_what_does_not_end_in_time(world: World) -> None:
    image = world.add_image()
    world.transfers.arrive(image.layers[0], 10)
    async with world.session.get(world.url(image.blob())) as response:
        began_s = time.monotonic()
        await world.front.stop(drain_timeout_s=0.1)
        assert time.monotonic() - began_s < SOON_S
        with pytest.raises(aiohttp.ClientError):
            await response.read()
