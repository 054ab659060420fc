"""Connections: certificates, address families, and where they must not lead."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from shoal.adapters.origin.client import OriginClient
from shoal.adapters.origin.config import Bounds, RegistryConfig
from shoal.adapters.origin.connections import retry_after_s
from shoal.core.errors import OriginError, OriginLied, SettingsError
from shoal.testing.certificates import PrivateAuthority
from shoal.testing.registry import EmbeddedRegistry
from shoal.testing.registry_auth import Account, AuthMode, RegistryAuth
from shoal.testing.registry_faults import Answer, Disconnect, Redirect, WrongRange
from unit.adapters.origin.asking import BLOB, SHORT, Right, fetched, spec_of


async def test_a_private_authority_is_trusted_where_it_is_configured_only(tmp_path: Path) -> None:
    authority = PrivateAuthority(tmp_path)
    tls = authority.server_context("127.0.0.1")
    async with EmbeddedRegistry(tls=tls, redirect_blobs=True) as registry:
        spec = spec_of(registry)
        async with OriginClient([registry.config(ca_file=authority.ca_file)]) as client:
            assert await fetched(client, spec, 5, 5000) == BLOB[5:5000]
        async with OriginClient([registry.config()]) as client:
            with pytest.raises(OriginError, match=r"not trusted.*set ca_file"):
                await fetched(client, spec, 5, 5000)


async def test_a_certificate_for_another_name_is_refused(tmp_path: Path) -> None:
    authority = PrivateAuthority(tmp_path)
    async with EmbeddedRegistry(tls=authority.server_context("other.example")) as registry:
        config = registry.config(ca_file=authority.ca_file)
        async with OriginClient([config]) as client:
            with pytest.raises(OriginError, match="not trusted"):
                await client.ask(config, "GET", "/v2/", headers={})


async def test_an_encrypted_registry_may_not_redirect_to_plain_http(tmp_path: Path) -> None:
    authority = PrivateAuthority(tmp_path)
    async with EmbeddedRegistry(tls=authority.server_context("127.0.0.1")) as registry:
        registry.fail(Redirect(f"http://{registry.address}/x"), route="ping")
        config = registry.config(ca_file=authority.ca_file)
        async with OriginClient([config]) as client:
            with pytest.raises(OriginError, match="not encrypted"):
                await client.ask(config, "GET", "/v2/", headers={})


async def test_a_ca_file_that_holds_no_certificate_is_a_settings_error(tmp_path: Path) -> None:
    empty = tmp_path / "ca.pem"
    empty.write_text("nothing")
    for path in (empty, tmp_path / "missing.pem"):
        with pytest.raises(SettingsError, match=r"r\.example.*ca_file"):
            OriginClient([RegistryConfig("r.example", ca_file=path)])


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
async def test_both_address_families_do(host: str) -> None:
    async with (
        EmbeddedRegistry(host=host, redirect_blobs=True) as registry,
        OriginClient([registry.config()]) as client,
    ):
        assert await fetched(client, spec_of(registry), 5, 500) == BLOB[5:500]


# --- redirects --------------------------------------------------------------------------------


async def test_credentials_stay_with_the_registry_when_it_redirects() -> None:
    auth = RegistryAuth(AuthMode.BASIC, {"me": Account("secret")})
    async with (
        EmbeddedRegistry(auth=auth, redirect_blobs=True) as registry,
        OriginClient([registry.config()]) as client,
    ):
        right = Right(authorization="Basic bWU6c2VjcmV0")
        spec = spec_of(registry)
        assert await fetched(client, spec, 5, 500, right) == BLOB[5:500]
        path = f"/v2/team/app/blobs/{spec.digest}"
        headers = {"Authorization": "Basic bWU6c2VjcmV0"}
        head = await client.ask(registry.config(), "HEAD", path, headers=headers)
        assert head.status == 200
        seen = {(seen.route, "Authorization" in seen.headers) for seen in registry.log}
        assert seen == {("blobs", True), ("storage", False)}


async def test_a_redirect_back_to_the_registry_gets_no_credentials() -> None:
    async with EmbeddedRegistry() as registry, EmbeddedRegistry() as other:
        config = registry.config()
        registry.fail(Redirect(f"{other.url}/v2/"), route="ping", times=1)
        other.fail(Redirect(f"{registry.url}/v2/"), route="ping")
        async with OriginClient([config]) as client:
            await client.ask(config, "GET", "/v2/", headers={"Authorization": "Basic x"})
        first, last = registry.log
        assert "Authorization" in first.headers
        assert "Authorization" not in last.headers
        assert all("Authorization" not in seen.headers for seen in other.log)


async def test_a_redirect_within_the_registry_keeps_credentials() -> None:
    async with EmbeddedRegistry() as registry:
        registry.fail(Redirect("/v2/_catalog"), route="ping")
        config = registry.config()
        async with OriginClient([config]) as client:
            await client.ask(config, "GET", "/v2/", headers={"Authorization": "Basic x"})
        assert "Authorization" in registry.log[-1].headers
        assert registry.log[-1].path == "/v2/_catalog"


@pytest.mark.parametrize(
    ("target", "complaint"),
    [
        ("http://169.254.169.254/latest/meta-data/", "link-local"),
        ("http://100.100.100.200/latest/", "metadata"),
        ("http://127.0.0.2:{port}/v2/", "loopback"),
        ("http://[::1]:{port}/v2/", "loopback"),
        ("http://[::ffff:127.0.0.1]:{port}/v2/", "loopback"),
        ("http://0.0.0.0:{port}/v2/", "unspecified"),
        ("http://localhost:{port}/v2/", "localhost resolves to a loopback address"),
        ("http://2130706433:{port}/v2/", "unusual spelling"),
        ("http://0x7f.1:{port}/v2/", "unusual spelling"),
        ("http://127.1:{port}/v2/", "unusual spelling"),
    ],
)
async def test_a_redirect_to_an_internal_address_is_refused(target: str, complaint: str) -> None:
    async with EmbeddedRegistry() as registry:
        port = registry.address.rpartition(":")[2]
        registry.fail(Redirect(target.format(port=port)), route="ping", times=1)
        config = registry.config()
        async with OriginClient([config]) as client:
            with pytest.raises(OriginError, match=complaint) as caught:
                await client.ask(config, "GET", "/v2/", headers={})
        assert caught.value.status == 307
        assert len(registry.log) == 1


async def test_an_internal_address_may_be_allowed_by_name() -> None:
    async with EmbeddedRegistry() as registry:
        port = registry.address.rpartition(":")[2]
        for allowed in ("localhost", f"localhost:{port}"):
            config = registry.config(redirect_hosts=(allowed,))
            registry.fail(Redirect(f"http://localhost:{port}/v2/"), route="ping", times=1)
            async with OriginClient([config]) as client:
                assert (await client.ask(config, "GET", "/v2/", headers={})).status == 200
        config = registry.config(allow_private_redirects=True)
        registry.fail(Redirect(f"http://127.0.0.1:{port}/v2/"), route="ping", times=1)
        async with OriginClient([config]) as client:
            assert (await client.ask(config, "GET", "/v2/", headers={})).status == 200


async def test_a_head_that_the_storage_refuses_is_answered_by_a_get_of_one_byte() -> None:
    async with EmbeddedRegistry(redirect_blobs=True) as registry:
        spec = spec_of(registry)
        registry.fail(Answer(403), route="storage", method="HEAD")
        config = registry.config()
        async with OriginClient([config]) as client:
            path = f"/v2/team/app/blobs/{spec.digest}"
            answer = await client.ask(config, "HEAD", path, headers={})
        assert (answer.status, answer.headers["Content-Length"]) == (200, str(len(BLOB)))
        assert registry.counters.total_blob_body_bytes == 1


# --- signed URLs ------------------------------------------------------------------------------


async def test_the_storage_is_asked_directly_while_its_url_is_good() -> None:
    async with (
        EmbeddedRegistry(redirect_blobs=True) as registry,
        OriginClient([registry.config()]) as client,
    ):
        spec = spec_of(registry)
        for start in range(5):
            assert await fetched(client, spec, start, 500) == BLOB[start:500]
        assert registry.counters.requests == {"GET blobs": 1, "GET storage": 5}


async def test_a_connection_is_used_again_after_a_redirect() -> None:
    async with (
        EmbeddedRegistry(redirect_blobs=True) as registry,
        OriginClient([registry.config()]) as client,
    ):
        for data in (b"one", b"two", b"three"):
            await fetched(client, spec_of(registry, data), 0, 2)
        ports = {(seen.route, seen.client_port) for seen in registry.log}
        assert len(registry.log) == 6
        assert len(ports) == 2


async def test_a_signed_url_is_not_shared_between_credentials_or_repositories() -> None:
    async with (
        EmbeddedRegistry(redirect_blobs=True) as registry,
        OriginClient([registry.config()]) as client,
    ):
        spec = spec_of(registry)
        registry.add_blob(BLOB, repository="other/app")
        for right in (
            Right(),
            Right(authorization="Basic a"),
            Right(authorization="Basic b"),
            Right("other/app"),
        ):
            await fetched(client, spec, 0, 5, right)
        assert registry.counters.requests["GET blobs"] == 4


async def test_an_expired_url_is_asked_for_again_once() -> None:
    async with (
        EmbeddedRegistry(redirect_blobs=True) as registry,
        OriginClient([registry.config()]) as client,
    ):
        spec = spec_of(registry)
        await fetched(client, spec, 0, 5)
        registry.signer.revoke()
        assert await fetched(client, spec, 5, 10) == BLOB[5:10]
        assert registry.counters.requests == {"GET blobs": 2, "GET storage": 3}
        registry.fail(Answer(403), route="storage")
        with pytest.raises(OriginError, match=r"storage 127\.0\.0\.1 answered 403") as caught:
            await fetched(client, spec, 5, 10)
        # It says nothing about the client's credential.
        assert type(caught.value) is OriginError
        assert registry.counters.requests == {"GET blobs": 3, "GET storage": 5}


async def test_storage_that_is_gone_is_looked_for_at_the_registry() -> None:
    async with (
        EmbeddedRegistry(redirect_blobs=True) as registry,
        OriginClient([registry.config()]) as client,
    ):
        spec = spec_of(registry)
        await fetched(client, spec, 0, 5)
        registry.fail(Disconnect(), route="storage")
        registry.redirect_blobs = False
        assert await fetched(client, spec, 5, 10) == BLOB[5:10]


async def test_storage_that_lies_is_not_remembered() -> None:
    async with (
        EmbeddedRegistry(redirect_blobs=True) as registry,
        OriginClient([registry.config()]) as client,
    ):
        spec = spec_of(registry)
        await fetched(client, spec, 0, 5)
        registry.fail(WrongRange(), route="storage", times=2)
        for _ in range(2):
            with pytest.raises(OriginLied):
                await fetched(client, spec, 5, 10)
        assert await fetched(client, spec, 5, 10) == BLOB[5:10]
        assert registry.counters.requests["GET blobs"] == 3


async def test_busy_storage_is_not_asked_again_at_once() -> None:
    async with (
        EmbeddedRegistry(redirect_blobs=True) as registry,
        OriginClient([registry.config()]) as client,
    ):
        spec = spec_of(registry)
        await fetched(client, spec, 0, 5)
        registry.fail(Answer(503, {"Retry-After": "9"}), route="storage")
        with pytest.raises(OriginError) as caught:
            await fetched(client, spec, 0, 5)
        assert caught.value.retry_after_s == 9.0
        assert registry.counters.requests == {"GET blobs": 1, "GET storage": 2}


# --- realms -----------------------------------------------------------------------------------


async def test_a_realm_gets_the_credentials_and_its_redirect_is_not_followed() -> None:
    async with EmbeddedRegistry() as registry:
        config = registry.config()
        registry.fail(Redirect("http://elsewhere.example/"), route="token")
        async with OriginClient([config]) as client:
            answer = await client.ask_realm(
                config, "GET", f"{registry.url}/token?scope=x", headers={"Authorization": "Basic x"}
            )
        assert answer.status == 307
        assert registry.log[-1].headers["Authorization"] == "Basic x"


@pytest.mark.parametrize(
    ("realm", "complaint"),
    [
        ("http://auth.example/token", "not encrypted"),
        ("https://127.0.0.1/token", "loopback"),
        ("https://localhost/token", "loopback"),
        ("https://[fd00:ec2::254]/token", "metadata"),
        ("https://[::1", "not a URL"),
        ("token", "no http or https URL"),
    ],
)
async def test_a_realm_that_is_not_safe_is_never_asked(realm: str, complaint: str) -> None:
    config = RegistryConfig("r.example")
    async with OriginClient([config]) as client:
        with pytest.raises(OriginError, match=complaint):
            await client.ask_realm(config, "GET", realm, headers={"Authorization": "Basic x"})


# --- Retry-After ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (None, None),
        ("", None),
        ("120", 120.0),
        (" 0 ", 0.0),
        ("soon", None),
        ("-5", None),
        ("9" * 30, None),
        ("Wed, 21 Oct 2015 07:28:30 GMT", 30.0),
        ("Wed, 21 Oct 2015 07:20:00 GMT", 0.0),
    ],
)
def test_retry_after_is_seconds_or_a_date(text: str | None, expected: float | None) -> None:
    headers = {} if text is None else {"Retry-After": text}
    now = datetime(2015, 10, 21, 7, 28, 0, tzinfo=UTC)
    assert retry_after_s(headers, now=now) == expected


# --- servers that speak no HTTP ---------------------------------------------------------------


@asynccontextmanager
async def speaking(*parts: bytes, pause_s: float = 0.0) -> AsyncIterator[str]:
    """Run a server that answers whatever it is asked with `parts`; give its address."""
    answering = set()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        answering.add(asyncio.current_task())
        try:
            await reader.readuntil(b"\r\n\r\n")
            for part in parts:
                writer.write(part)
                await writer.drain()
                await asyncio.sleep(pause_s)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.transport.abort()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
        server.close()
        for task in answering:
            if task is not None:
                task.cancel()
                await asyncio.wait([task])


@pytest.mark.parametrize(
    ("parts", "complaint"),
    [
        ([b"SSH-2.0-OpenSSH_9\r\n"], "malformed HTTP"),
        ([b"HTTP/1.1 200 OK\r\nA: " + b"a" * 60_000 + b"\r\n\r\n"], "malformed HTTP"),
        ([b"HTTP/1.1 200 OK\r\n", b"A: a\r\n" * 100_000], "malformed HTTP"),
        ([b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n"], "malformed HTTP"),
        ([b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n"], "malformed HTTP"),
        ([b"HTTP/1.1 100 Continue\r\n\r\n"] * 50, "closed the connection|no answer"),
        ([], "closed the connection"),
    ],
)
async def test_an_answer_that_is_no_http_is_an_error(parts: list[bytes], complaint: str) -> None:
    async with speaking(*parts) as address:
        config = RegistryConfig(address, url=f"http://{address}", plain_http=True)
        async with OriginClient([config]) as client:
            with pytest.raises(OriginError, match=complaint):
                await client.ask(config, "GET", "/v2/", headers={})


async def test_headers_that_drip_are_given_up() -> None:
    parts = [bytes([byte]) for byte in b"HTTP/1.1 200 OK\r\nX: y\r\n"]
    async with speaking(*parts, pause_s=0.05) as address:
        config = RegistryConfig(address, url=f"http://{address}", plain_http=True)
        async with OriginClient([config], bounds=SHORT) as client:
            with pytest.raises(OriginError, match=r"no answer from .* within 0\.5 s"):
                await client.ask(config, "GET", "/v2/", headers={})


async def test_a_host_that_swallows_connections_is_given_up() -> None:
    with socket.socket() as listener, contextlib.ExitStack() as waiting:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        address = f"127.0.0.1:{listener.getsockname()[1]}"
        for _ in range(3):  # whatever fits into the backlog: no further SYN is answered then
            filler = waiting.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
        config = RegistryConfig(address, url=f"http://{address}", plain_http=True)
        async with OriginClient([config], bounds=Bounds(connect_s=0.3)) as client:
            with pytest.raises(OriginError, match=r"no connection to .* within 0\.3 s"):
                await client.ask(config, "GET", "/v2/", headers={})
