"""Requests to an API server: where it is, who asks, and answers that are none."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web

from shoal.adapters.kube import api
from shoal.adapters.kube.api import (
    KubeAccess,
    KubeError,
    KubeGone,
    connected,
    in_cluster_server,
)
from shoal.core.errors import SettingsError
from shoal.testing.certificates import PrivateAuthority


@pytest.mark.parametrize(
    ("host", "port", "url"),
    [
        ("10.96.0.1", "443", "https://10.96.0.1:443"),
        ("fd00::1", "6443", "https://[fd00::1]:6443"),
    ],
)
def test_the_kubelet_s_variables_name_the_server(host: str, port: str, url: str) -> None:
    told = {"KUBERNETES_SERVICE_HOST": host, "KUBERNETES_SERVICE_PORT": port}
    assert in_cluster_server(told) == url


@pytest.mark.parametrize("told", [{}, {"KUBERNETES_SERVICE_HOST": "a b"}])
def test_outside_a_pod_the_server_must_be_named(told: dict[str, str]) -> None:
    with pytest.raises(SettingsError, match=r"set membership\.kubernetes\.server"):
        in_cluster_server(told)


@pytest.mark.parametrize("token", ["", "\n", "a\nb", "ä"])
def test_a_file_that_holds_no_token_is_named(tmp_path: Path, token: str) -> None:
    (tmp_path / "token").write_text(token)
    with pytest.raises(KubeError, match="token"):
        KubeAccess("https://a", tmp_path).headers()


def test_a_certificate_that_is_none_is_named(tmp_path: Path) -> None:
    (tmp_path / "ca.crt").write_text("nonsense")
    with pytest.raises(KubeError, match=r"ca\.crt"):
        KubeAccess("https://a", tmp_path).tls()


Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def answering(handler: Handler, folder: Path) -> AsyncIterator[KubeAccess]:
    authority = PrivateAuthority(folder)
    authority.ca_file.rename(folder / "ca.crt")
    (folder / "token").write_text("t")
    runner = web.ServerRunner(web.Server(handler), shutdown_timeout=0.1)  # type: ignore[arg-type]
    await runner.setup()
    tls = authority.server_context("127.0.0.1")
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls).start()
    try:
        yield KubeAccess(f"https://127.0.0.1:{runner.addresses[0][1]}", folder)
    finally:
        await runner.cleanup()


def saying(body: bytes, **options: object) -> Handler:
    async def handler(_: web.Request) -> web.Response:
        return web.Response(body=body, **options)  # type: ignore[arg-type]

    return handler


async def events(access: KubeAccess, silence_s: float = 30) -> list[object]:
    async with connected(access) as connection:
        return [event async for event in connection.events("/a", {}, silence_s=silence_s)]


async def page(access: KubeAccess) -> object:
    async with connected(access) as connection:
        return await connection.page("/a", {})


async def test_events_are_lines_however_they_are_cut(tmp_path: Path) -> None:
    lines = [{"type": "A", "text": "x" * size} for size in (1, 70_000, 300_000, 2)]

    async def handler(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        text = b"\n\n".join(json.dumps(line).encode() for line in lines) + b'\n{"half":'
        for start in range(0, len(text), 50_001):
            await response.write(text[start : start + 50_001])
        return response

    async with answering(handler, tmp_path) as access:
        assert await events(access) == lines


async def test_silence_ends_a_watch_without_an_error(tmp_path: Path) -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b'{"a": 1}\n')
        await asyncio.Event().wait()
        return response

    async with answering(handler, tmp_path) as access:
        assert await events(access, silence_s=0.2) == [{"a": 1}]


async def test_an_event_without_an_end_is_cut_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api, "MAX_EVENT_BYTES", 1000)
    async with answering(saying(b"x" * 5000), tmp_path) as access:
        with pytest.raises(KubeError, match="longer than 1000 bytes"):
            await events(access)


async def test_a_page_beyond_the_bound_is_cut_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api, "MAX_PAGE_BYTES", 1000)
    async with answering(saying(b'{"a": "' + b"x" * 5000), tmp_path) as access:
        with pytest.raises(KubeError, match="longer than 1000 bytes"):
            await page(access)


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b"[" * 100_000])
async def test_what_is_no_object_is_an_error(tmp_path: Path, body: bytes) -> None:
    async with answering(saying(body), tmp_path) as access:
        with pytest.raises(KubeError):
            await page(access)


async def test_a_refusal_says_what_the_server_said(tmp_path: Path) -> None:
    body = json.dumps({"message": "cannot list endpointslices"}).encode()
    headers = {"Retry-After": "7"}
    async with answering(saying(body, status=403, headers=headers), tmp_path) as access:
        with pytest.raises(KubeError, match="403 for /a: cannot list endpointslices") as caught:
            await page(access)
        assert caught.value.retry_after_s == 7


async def test_retry_after_is_bounded_and_a_date_is_none(tmp_path: Path) -> None:
    for text, expected in (("86400", 60.0), ("Wed, 21 Oct 2026 07:28:00 GMT", 0.0)):
        handler = saying(b"", status=429, headers={"Retry-After": text})
        folder = tmp_path / str(expected)
        folder.mkdir()
        async with answering(handler, folder) as access:
            with pytest.raises(KubeError) as caught:
                await page(access)
            assert caught.value.retry_after_s == expected


async def test_gone_is_an_error_of_its_own(tmp_path: Path) -> None:
    async with answering(saying(b"{}", status=410), tmp_path) as access:
        with pytest.raises(KubeGone):
            await page(access)


async def test_a_redirect_is_not_followed_with_the_token(tmp_path: Path) -> None:
    handler = saying(b"", status=302, headers={"Location": "https://127.0.0.1:1/"})
    async with answering(handler, tmp_path) as access:
        with pytest.raises(KubeError, match="answered 302"):
            await page(access)
