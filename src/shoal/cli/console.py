"""`shoal console`: serve the registry console, back it up, restore it."""

import asyncio
import secrets
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from shoal.core.endpoint import Endpoint
from shoal.core.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Callable

    from shoal.control.store.database import Database

T = TypeVar("T")

console_app = typer.Typer(
    help="The registry's side: its cloud-compatible API, and pages for people (docs/console.md).",
    no_args_is_help=True,
)

DatabaseOption = Annotated[
    str,
    typer.Option(
        "--database",
        envvar="SHOAL_CONSOLE_DATABASE",
        help="sqlite:///FILE or postgresql://USER:PASSWORD@HOST/NAME.",
    ),
]
_DATABASE = "sqlite:////var/lib/shoal/console.db"


@console_app.command("serve")
def serve(
    database: DatabaseOption = _DATABASE,
    key_file: Annotated[
        Path,
        typer.Option(
            envvar="SHOAL_CONSOLE_KEY_FILE",
            help="What secrets are sealed with; made if it is not there. Back it up too.",
        ),
    ] = Path("/var/lib/shoal/console.key"),
    listen: Annotated[
        str,
        typer.Option(
            envvar="SHOAL_CONSOLE_LISTEN", help="Address and port; port 0 takes one that is free."
        ),
    ] = "127.0.0.1:8420",
    https: Annotated[
        bool,
        typer.Option(
            "--https", help="People come through a proxy by HTTPS: cookies are for that alone."
        ),
    ] = False,
    metadata: Annotated[
        str,
        typer.Option(
            envvar="SHOAL_CONSOLE_METADATA",
            help="Address and port of a metadata service for nodes: whoever reaches it has their "
            "role.",
        ),
    ] = "",
    metadata_cluster: Annotated[
        str,
        typer.Option(envvar="SHOAL_CONSOLE_METADATA_CLUSTER", help="ID of those nodes' cluster."),
    ] = "",
    metadata_role: Annotated[
        str, typer.Option(envvar="SHOAL_CONSOLE_METADATA_ROLE", help="Name of those nodes' role.")
    ] = "",
    metadata_token_only: Annotated[
        bool,
        typer.Option(
            "--metadata-token-only", help="Answer only with a token, as hardened nodes do."
        ),
    ] = False,
) -> None:
    """Serve the console until it is interrupted.

    The first start prints a code, with which the first administrator is made in the browser.

    Exit codes:
    0 ended by a signal;
    69 the database cannot be had;
    78 wrong settings.
    """
    host, port = _address(listen)
    _needed()
    from shoal.control.api.app import mount
    from shoal.control.api.metadata import Node
    from shoal.control.serving import MetadataService
    from shoal.control.serving import serve as serve_console

    service = None
    if metadata:
        if not (metadata_cluster and metadata_role):
            raise SettingsError("--metadata takes --metadata-cluster and --metadata-role")
        node = Node(cluster_id=metadata_cluster, role=metadata_role, token_only=metadata_token_only)
        metadata_host, metadata_port = _address(metadata)
        service = MetadataService(host=metadata_host, port=metadata_port, node=node)
    asyncio.run(
        serve_console(
            database_url=database,
            key_file=key_file,
            host=host,
            port=port,
            https=https,
            setup_code=secrets.token_hex(8),
            say=lambda text: print(text, flush=True),
            mounts=[mount],
            metadata=service,
        )
    )


@console_app.command("backup")
def backup_command(
    file: Annotated[Path, typer.Argument(help="File to write.")],
    database: DatabaseOption = _DATABASE,
) -> None:
    """Write everything the console knows to one file, also while it is serving.

    Secrets in it stay sealed: keep the key file too, and elsewhere.
    """
    _needed()
    from shoal.control.store.backup import backup

    rows = _with_database(database, lambda opened: backup(opened, file))
    print(f"{rows} rows written to {file}")


@console_app.command("restore")
def restore_command(
    file: Annotated[Path, typer.Argument(help="File that `backup` wrote.")],
    database: DatabaseOption = _DATABASE,
    replace: Annotated[
        bool, typer.Option("--replace", help="Overwrite what the database holds.")
    ] = False,
) -> None:
    """Fill the database from a backup: all of it, or nothing. Stop the console first."""
    _needed()
    from shoal.control.store.backup import restore

    rows = _with_database(database, lambda opened: restore(opened, file, replace=replace))
    print(f"{rows} rows restored from {file}")


def _address(listen: str) -> tuple[str, int]:
    """Return host and port; port 0, which no endpoint has, takes one that is free."""
    if listen.endswith(":0"):
        return Endpoint.parse(f"{listen[:-2]}:1").host, 0
    endpoint = Endpoint.parse(listen)
    return endpoint.host, endpoint.port


def _needed() -> None:
    try:
        import cryptography
        import jinja2
        import sqlalchemy
    except ModuleNotFoundError as missing:
        raise SettingsError(
            f"{missing.name} is not installed: pip install 'shoal[console]'"
        ) from missing
    del cryptography, jinja2, sqlalchemy


def _with_database(url: str, work: "Callable[[Database], T]") -> T:
    from shoal.control.store.database import Database

    opened = Database(url)
    try:
        return work(opened)
    finally:
        opened.close()
