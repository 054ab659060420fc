"""Health and metrics by plain HTTP, for the kubelet and Prometheus."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from aiohttp import web
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from shoal.core.errors import SettingsError

HEALTH_PORT = 8081


@asynccontextmanager
async def health(
    registry: CollectorRegistry, *, not_ready: Callable[[], str], host: str, port: int
) -> AsyncIterator[int]:
    """Serve `/livez`, `/readyz` and `/metrics` while the block runs; yields the port.

    Args:
        registry: what `/metrics` shows.
        not_ready: returns why this cannot do its work now; empty if it can.
        host: address to listen on.
        port: 0 takes one that is free.

    Raises:
        SettingsError: the port is taken.
    """

    async def livez(_: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def readyz(_: web.Request) -> web.Response:
        reason = not_ready()
        return web.Response(text=f"{reason or 'ok'}\n", status=503 if reason else 200)

    async def metrics(_: web.Request) -> web.Response:
        return web.Response(
            body=generate_latest(registry), headers={"Content-Type": CONTENT_TYPE_LATEST}
        )

    app = web.Application(client_max_size=1024)
    app.router.add_get("/livez", livez)
    app.router.add_get("/readyz", readyz)
    app.router.add_get("/metrics", metrics)
    async with serving(app, host=host, port=port) as bound:
        yield bound


@asynccontextmanager
async def serving(
    app: web.Application, *, host: str, port: int, tls: object = None
) -> AsyncIterator[int]:
    """Serve `app` while the block runs; yields the port.

    Raises:
        SettingsError: the port is taken.
    """
    runner = web.AppRunner(
        app,
        access_log=None,
        shutdown_timeout=5.0,
        keepalive_timeout=30.0,
        handler_cancellation=True,
    )
    await runner.setup()
    try:
        site = web.TCPSite(runner, host, port, ssl_context=tls)  # type: ignore[arg-type]
        try:
            await site.start()
        except OSError as exc:
            raise SettingsError(f"cannot listen on {host} port {port}: {exc.strerror}") from exc
        yield int(runner.addresses[0][1])
    finally:
        await runner.cleanup()
