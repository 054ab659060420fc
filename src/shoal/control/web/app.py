"""The pages as one aiohttp application, to be mounted at /console/."""

from aiohttp import web

from shoal.control.console import Console
from shoal.control.web import access, accounts, administration, clusters, instances, marketplace
from shoal.control.web.entry import Entry
from shoal.control.web.render import STATIC, static_hash
from shoal.control.web.security import with_headers, with_visit
from shoal.control.web.visit import CONSOLE

_TYPES = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}


def build_pages(console: Console) -> web.Application:
    """Return the application of all pages."""
    app = web.Application(middlewares=[with_headers, with_visit])
    app[CONSOLE] = console
    app.add_routes([web.get("/", _home), web.get("/static/{hash}/{name}", _static)])
    for routes in (
        Entry().routes(),
        instances.routes(),
        clusters.routes(),
        marketplace.routes(),
        access.routes(),
        accounts.routes(),
        administration.routes(),
    ):
        app.add_routes(routes)
    return app


async def _home(request: web.Request) -> web.StreamResponse:
    del request
    raise web.HTTPSeeOther("/console/instances")


async def _static(request: web.Request) -> web.StreamResponse:
    name = request.match_info["name"]
    path = STATIC / name
    # Only names that the folder itself lists: no path of a request is ever opened.
    if name not in {file.name for file in STATIC.iterdir()}:
        return web.Response(status=404)
    if request.match_info["hash"] != static_hash(name):
        return web.Response(status=404)
    return web.Response(
        body=path.read_bytes(),
        content_type=_TYPES.get(path.suffix, "application/octet-stream"),
        charset="utf-8",
        headers={"Cache-Control": "public, max-age=31536000, immutable"},
    )
