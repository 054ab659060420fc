"""One process: the pages at /console/, and beside them whatever else is mounted at the root."""

from collections.abc import Callable, Iterable

from aiohttp import web

from shoal.control.console import Console
from shoal.control.web.app import build_pages

# A policy document has 6 KiB, an OIDC token at most 20,000 characters: the bound for all bodies.
MAX_REQUEST_BYTES = 64 * 1024

# Adds the routes of an API to the root application: the API's own module provides it.
Mount = Callable[[web.Application, Console], None]


def build(console: Console, *, mounts: Iterable[Mount] = ()) -> web.Application:
    """Return the whole application.

    Args:
        console: What pages and APIs share.
        mounts: What else is served beside the pages.
    """
    root = web.Application(client_max_size=MAX_REQUEST_BYTES)
    for mount in mounts:
        mount(root, console)
    root.add_subapp("/console", build_pages(console))
    root.router.add_get("/healthz", _health)
    if not any(resource.canonical == "/" for resource in root.router.resources()):
        root.router.add_get("/", _to_pages)
    return root


async def _health(request: web.Request) -> web.Response:
    del request
    return web.Response(text="ok\n")


async def _to_pages(request: web.Request) -> web.Response:
    del request
    return web.Response(status=303, headers={"Location": "/console/instances"})
