"""`shoal pull`: an image, through an agent, into an OCI layout or a docker archive."""

import asyncio
import json
import os
import sys
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

import typer

from shoal.adapters.layout.base import ImageTarget
from shoal.adapters.layout.docker_archive import DockerArchive
from shoal.adapters.layout.oci_layout import OciLayout
from shoal.adapters.origin.docker_config import Credentials, DockerConfig
from shoal.cli.pulling.job import PullRequest, PullResult, pull
from shoal.cli.pulling.platforms import parse_platform, this_platform
from shoal.cli.pulling.watch import Bars, Lines, Silent, Watcher
from shoal.core.errors import BadInput, SettingsError
from shoal.core.reference import Reference


class Format(StrEnum):
    """What to write."""

    OCI = "oci"
    DOCKER_ARCHIVE = "docker-archive"


def pull_command(
    image: Annotated[
        str,
        typer.Argument(
            metavar="REF", help="The image, such as nginx:1.27 or registry.example.com/app@sha256:…"
        ),
    ],
    output: Annotated[
        Path,
        typer.Option(
            "--output",
            "-o",
            metavar="DIR|FILE.tar",
            help="Where to put it: an OCI layout folder, new or with other images in it, or a "
            "docker archive for `docker load`.",
        ),
    ],
    format_: Annotated[
        Format | None,
        typer.Option("--format", help="[default: docker-archive for *.tar, else oci]"),
    ] = None,
    platform: Annotated[
        str | None,
        typer.Option(help="Such as linux/arm64 or linux/arm/v7.  [default: this machine's]"),
    ] = None,
    agent: Annotated[
        str, typer.Option(metavar="URL", help="The agent's front.", envvar="SHOAL_AGENT")
    ] = "http://127.0.0.1:65001",
    fallback: Annotated[
        bool,
        typer.Option(
            "--fallback", help="Where the agent cannot help, pull from the registry itself."
        ),
    ] = False,
    creds_file: Annotated[
        Path | None,
        typer.Option(
            help="A Docker config.json with credentials.  [default: that of `docker login`]"
        ),
    ] = None,
    plain_http: Annotated[
        bool,
        typer.Option("--plain-http", help="The registry itself speaks plain HTTP (--fallback)."),
    ] = False,
    ca_file: Annotated[
        Path | None,
        typer.Option(help="The registry's and its token realm's own certificate authority, PEM."),
    ] = None,
    progress: Annotated[
        bool | None,
        typer.Option(
            "--progress/--no-progress",
            help="A bar for each layer.  [default: on a terminal]",
            show_default=False,
        ),
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print errors only.")] = False,
    json_output: Annotated[
        bool, typer.Option("--json", help="Print one JSON object when it is done.")
    ] = False,
) -> None:
    """Pull an image through this node's agent, which asks peers before the registry.

    Every byte is checked against its digest. A connection that is cut is resumed
    where it was. Layers that are in the folder already are checked and not pulled
    again, and an interrupted pull into a folder goes on where it was. Prints the
    digest of the manifest; the rest goes to standard error.

    Exit codes:
    0 done;
    1 the output could not be written;
    2 bad usage;
    65 bytes are not what the digest says: nothing of them was kept;
    66 no such image, or none for this platform;
    69 no agent answers, or neither peers nor registry can be reached;
    77 the registry refuses these credentials;
    78 the credentials file is malformed.
    """
    reference = Reference.parse(image)
    request = PullRequest(
        reference=reference,
        agent_url=_checked_agent(agent),
        find_credentials=_finder(reference, creds_file),
        platform=parse_platform(platform) if platform is not None else this_platform(),
        platform_matters=platform is not None,
        fallback=fallback,
        plain_http=plain_http,
        ca_file=ca_file,
    )
    chosen = format_ or (Format.DOCKER_ARCHIVE if output.suffix == ".tar" else Format.OCI)
    watcher = _watcher(quiet=quiet or json_output, progress=progress)
    target = _target(chosen, output)
    try:
        with watcher:
            result = asyncio.run(pull(request, target, watcher))
    finally:
        target.close()
    if json_output:
        print(json.dumps(_report(result, output=output, chosen=chosen)))
    elif not quiet:
        print(result.image.digest)


def _target(chosen: Format, output: Path) -> ImageTarget:
    return OciLayout(output) if chosen is Format.OCI else DockerArchive(output)


def _watcher(*, quiet: bool, progress: bool | None) -> Watcher:
    if progress or (progress is None and not quiet and sys.stderr.isatty()):
        return Bars()
    return Silent() if quiet else Lines()


def _checked_agent(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise BadInput(f"--agent {url[:160]!r} is no address such as http://127.0.0.1:65001")
    return url.rstrip("/")


def _finder(reference: Reference, creds_file: Path | None) -> Callable[[], Credentials | None]:
    """Return what looks for the credentials, once a registry asks for some."""

    def find() -> Credentials | None:
        path = creds_file
        if path is None:
            folder = Path(os.environ.get("DOCKER_CONFIG") or Path.home() / ".docker")
            path = folder / "config.json"
            if not path.exists():
                return None
        try:
            config = DockerConfig.read(path)
            return config.credentials_for(reference.registry, repository=reference.repository)
        except SettingsError as exc:
            if creds_file is not None:
                raise
            # Docker's own file, which nobody has named: the image may be public all the same.
            print(f"shoal: warning: {exc}; going on without credentials", file=sys.stderr)
            return None

    return find


def _report(result: PullResult, *, output: Path, chosen: Format) -> dict[str, object]:
    blobs = []
    for blob in result.blobs.values():
        row: dict[str, object] = {
            "digest": str(blob.descriptor.digest),
            "bytes": blob.descriptor.size_bytes,
            "media_type": blob.descriptor.media_type,
            "result": blob.word,
        }
        if blob.sources is not None:
            row["origin_bytes"] = blob.sources.origin_bytes
            row["peer_bytes"] = blob.sources.peer_bytes
            row["cached_bytes"] = blob.sources.cached_bytes
        blobs.append(row)
    image = result.image
    return {
        "reference": str(image.reference),
        "digest": str(image.digest),
        "platform": str(image.platform) if image.platform is not None else None,
        "output": str(output),
        "format": str(chosen),
        "from": result.place,
        "seconds": round(result.seconds, 3),
        "blobs": blobs,
    }
