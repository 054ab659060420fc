"""The console's process: opens the database, serves, and ends on a signal."""

import asyncio
import signal
from collections.abc import Callable, Iterable
from pathlib import Path

from aiohttp import web

from shoal.control.app import Mount, build
from shoal.control.console import Console
from shoal.control.store import accounts
from shoal.control.store.database import Database
from shoal.control.store.migrate import migrate
from shoal.control.store.vault import open_vault
from shoal.core.endpoint import Endpoint
from shoal.core.errors import SettingsError

SHUTDOWN_S = 5.0


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

    Raises:
        SettingsError: The address cannot be listened on, or a setting is wrong.
    """
    database = Database(database_url)
    try:
        for step in migrate(database):
            say(f"database: applied {step.number:04}_{step.name}")
        console = Console(database, open_vault(key_file), setup_code, secure=https)
        runner = web.AppRunner(build(console, mounts=mounts), shutdown_timeout=SHUTDOWN_S)
        await runner.setup()
        try:
            site = web.TCPSite(runner, host, port)
            try:
                await site.start()
            except OSError as error:
                raise SettingsError(
                    f"cannot listen on {host} port {port}: {error.strerror}"
                ) from error
            bound = Endpoint(*runner.addresses[0][:2])
            address = f"http://{bound}/console/"
            with database.read() as connection:
                is_new = not accounts.administrators(connection)
            say(f"console: {address}")
            if is_new:
                say(f"first administrator: {address}setup?code={setup_code}")
            await _until_told()
        finally:
            await runner.cleanup()
    finally:
        database.close()


async def _until_told() -> None:
    told = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, told.set)
    await told.wait()
