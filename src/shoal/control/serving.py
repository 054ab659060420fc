"""The console's process: opens the database, serves, and ends on a signal."""

import asyncio
import signal
from collections.abc import Callable, Iterable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

from aiohttp import web

from shoal.control.api.metadata import Node
from shoal.control.api.metadata import build as build_metadata
from shoal.control.app import Mount, build
from shoal.control.console import Console
from shoal.control.store import administrators
from shoal.control.store.database import Database
from shoal.control.store.migrate import migrate
from shoal.control.store.vault import open_vault
from shoal.core.endpoint import Endpoint
from shoal.core.errors import SettingsError

SHUTDOWN_S = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class MetadataService:
    """Where the metadata service of a cluster's nodes listens, and what they are."""

    host: str
    port: int
    node: Node


async def serve(
    *,
    database_url: str,
    key_file: Path,
    host: str,
    port: int,
    https: bool,
    setup_code: str,
    say: Callable[[str], None],
    mounts: Iterable[Mount] = (),
    metadata: MetadataService | None = None,
) -> None:
    """Serve until SIGINT or SIGTERM.

    Args:
        database_url: SQLite or PostgreSQL; migrated to today's schema first.
        key_file: What secrets are sealed with.
        host: Address to listen on.
        port: Port to listen on; 0 takes a free one.
        https: Whether people come by HTTPS, through a proxy.
        setup_code: What the first administrator has to enter.
        say: Takes lines for whoever started this.
        mounts: What is served beside the pages.
        metadata: The metadata service, if there is to be one.

    Raises:
        SettingsError: The address cannot be listened on, or a setting is wrong.
    """
    database = Database(database_url)
    try:
        for step in migrate(database):
            say(f"database: applied {step.number:04}_{step.name}")
        console = Console(database, open_vault(key_file), setup_code, secure=https)
        async with AsyncExitStack() as serving:
            bound = await _listen(serving, build(console, mounts=mounts), host, port)
            address = f"http://{bound}/console/"
            with database.read() as connection:
                is_new = not administrators.names(connection)
            say(f"console: {address}")
            if is_new:
                say(f"first administrator: {address}setup?code={setup_code}")
            if metadata is not None:
                app = build_metadata(console, metadata.node)
                say(f"metadata: {await _listen(serving, app, metadata.host, metadata.port)}")
            await _until_told()
    finally:
        database.close()


async def _listen(serving: AsyncExitStack, app: web.Application, host: str, port: int) -> Endpoint:
    """Serve `app` for as long as `serving` is open; return where."""
    runner = web.AppRunner(app, shutdown_timeout=SHUTDOWN_S)
    await runner.setup()
    serving.push_async_callback(runner.cleanup)
    try:
        await web.TCPSite(runner, host, port).start()
    except OSError as error:
        raise SettingsError(f"cannot listen on {host} port {port}: {error.strerror}") from error
    return Endpoint(*runner.addresses[0][:2])


async def _until_told() -> None:
    told = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, told.set)
    await told.wait()
