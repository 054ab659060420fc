"""The exporter over loopback: what it serves, what it refuses, and how much it lets be asked."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

import aiohttp
import pytest
from prometheus_client import CollectorRegistry

from shoal.adapters.telemetry.metrics import Metrics
from shoal.agent import exporter as exporter_module
from shoal.agent.debug_page import Table
from shoal.agent.exporter import Exporter
from shoal.agent.health import Health
from shoal.agent.settings import ExporterSettings
from shoal.core.errors import SettingsError

LOOPBACK = ExporterSettings(hosts=("127.0.0.1",), port=0)


@asynccontextmanager
async def running(
    settings: ExporterSettings = LOOPBACK,
    *,
    status: Callable[[], Health] = Health,
    tables: Callable[[], Sequence[Table]] = tuple,
    idle_s: float = 30.0,
) -> AsyncIterator[Exporter]:
    exporter = Exporter(
        settings,
        registry=Metrics(CollectorRegistry(), version="1").registry,
        status=status,
        tables=tables,
        idle_s=idle_s,
    )
    await exporter.start()
    try:
        yield exporter
    finally:
        await exporter.stop()


async def _ask(
    exporter: Exporter, path: str, *, method: str = "GET", accept: str = "*/*"
) -> tuple[int, str, aiohttp.ClientResponse]:
    async with (
        aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(60)) as session,
        session.request(
            method, f"http://127.0.0.1:{exporter.port}{path}", headers={"Accept": accept}
        ) as response,
    ):
        return response.status, await response.text(), response


async def _is_dropped(reader: asyncio.StreamReader) -> bool:
    try:
        return await reader.read() == b""
    except ConnectionError:
        return True


async def test_metrics_come_in_the_format_that_is_asked_for() -> None:
    async with running() as exporter:
        status, text, response = await _ask(exporter, "/metrics")
        assert status == 200
        assert response.headers["Content-Type"].startswith("text/plain")
        assert "shoal_members 0.0" in text
        open_metrics = "application/openmetrics-text; version=1.0.0"
        status, text, response = await _ask(exporter, "/metrics", accept=open_metrics)
        assert response.headers["Content-Type"].startswith("application/openmetrics-text")
        assert text.endswith("# EOF\n")


async def test_health_is_told_here_too() -> None:
    async with running(status=lambda: Health({"front": "not listening"})) as exporter:
        assert (await _ask(exporter, "/livez"))[0] == 200
        assert (await _ask(exporter, "/healthz"))[0] == 200
        status, text, _ = await _ask(exporter, "/readyz")
        assert status == 503
        assert json.loads(text)["checks"] == {"front": "not listening"}


async def test_the_debug_page_shows_the_agents_tables_and_runs_no_script() -> None:
    async with running(tables=lambda: [Table("Peers", ("peer",), [("a:1",)])]) as exporter:
        status, text, response = await _ask(exporter, "/debug")
        assert status == 200
        assert "<td>a:1</td>" in text
        assert "default-src 'none'" in response.headers["Content-Security-Policy"]


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
async def test_nothing_here_can_be_changed(method: str) -> None:
    async with running() as exporter:
        assert (await _ask(exporter, "/metrics", method=method))[0] == 405


@pytest.mark.parametrize("path", ["/v2/", "/v2/library/alpine/manifests/latest", "/etc/passwd"])
async def test_no_content_can_be_read_here(path: str) -> None:
    async with running() as exporter:
        assert (await _ask(exporter, path))[0] == 404


async def test_a_head_has_no_body() -> None:
    async with running() as exporter:
        status, text, _ = await _ask(exporter, "/livez", method="HEAD")
        assert (status, text) == (200, "")


async def test_a_gauge_that_fails_is_told_to_the_log_only(caplog: pytest.LogCaptureFixture) -> None:
    def fail() -> Health:
        raise RuntimeError("a secret detail")

    async with running(status=fail) as exporter:
        status, text, _ = await _ask(exporter, "/readyz")
        assert status == 500
        assert "secret" not in text
    assert "exporter_fault" in caplog.text


async def test_an_exporter_that_is_off_does_not_listen() -> None:
    async with running(ExporterSettings(enabled=False)) as exporter:
        assert exporter.port == 0


async def test_both_families_have_the_same_port() -> None:
    if not socket.has_dualstack_ipv6():
        pytest.skip("no IPv6 here")
    async with running(ExporterSettings(hosts=("127.0.0.1", "::1"), port=0)) as exporter:
        for host in ("127.0.0.1", "::1"):
            _, writer = await asyncio.open_connection(host, exporter.port)
            writer.close()
            await writer.wait_closed()


async def test_a_port_in_use_names_the_setting() -> None:
    async with running() as exporter:
        settings = ExporterSettings(hosts=("127.0.0.1",), port=exporter.port)
        with pytest.raises(SettingsError, match=r"set exporter\.port to a free port"):
            async with running(settings):
                raise AssertionError("two exporters on one port")


async def test_a_connection_without_a_request_is_dropped() -> None:
    async with running(idle_s=0.05) as exporter:
        reader, writer = await asyncio.open_connection("127.0.0.1", exporter.port)
        writer.write(b"GET /metrics HT")  # half a request
        async with asyncio.timeout(30):
            assert await _is_dropped(reader)
        writer.close()


async def test_connections_beyond_the_limit_are_dropped_and_others_go_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(exporter_module, "MAX_CONNECTIONS", 2)
    async with running() as exporter:
        opened = [await asyncio.open_connection("127.0.0.1", exporter.port) for _ in range(3)]
        async with asyncio.timeout(30):
            assert await _is_dropped(opened[2][0])
            opened[0][1].write(b"GET /livez HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            assert (await opened[0][0].read()).startswith(b"HTTP/1.1 200")
        for _, writer in opened:
            writer.close()
