"""Pages from templates: escaped by default, with what every page needs."""

import hashlib
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

from aiohttp import web
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from shoal import __version__
from shoal.control.web.visit import Visit

FOLDER = Path(__file__).parent
STATIC = FOLDER / "static"


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(FOLDER / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["date"] = _date
    environment.filters["iso"] = _iso
    environment.filters["pretty"] = _pretty
    environment.globals["static"] = static_url
    environment.globals["version"] = __version__
    return environment


@cache
def static_hash(name: str) -> str:
    """Return a short hash of a static file, which makes its address change with it."""
    return hashlib.sha256((STATIC / name).read_bytes()).hexdigest()[:10]


def static_url(name: str) -> str:
    """Return the address of a static file."""
    return f"/console/static/{static_hash(name)}/{name}"


def page(
    visit: Visit,
    template: str,
    loaded: Mapping[str, object] | None = None,
    *,
    status: int = 200,
    **more: object,
) -> web.Response:
    """Return a page. With something wrong in its form the status is 422 instead of 200."""
    if status == 200 and not visit.form.is_good:
        status = 422
    text = (
        _environment()
        .get_template(template)
        .render(visit=visit, form=visit.form, now_s=visit.console.now_s, **(loaded or {}), **more)
    )
    return web.Response(text=text, content_type="text/html", status=status)


def _date(seconds: int | None) -> str:
    if seconds is None:
        return "never"
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S")


def _iso(seconds: int | None) -> str:
    return "" if seconds is None else datetime.fromtimestamp(seconds, UTC).isoformat()


def _pretty(document: str) -> str:
    try:
        return json.dumps(json.loads(document), indent=2, ensure_ascii=False)
    except ValueError:
        return document
