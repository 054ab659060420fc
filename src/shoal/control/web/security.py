"""What stands before every page: headers, session, cross-site forgery, and errors as pages."""

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from http import HTTPStatus

from aiohttp import web
from aiohttp.typedefs import Handler
from sqlalchemy import Connection

from shoal.control.store import accounts, administrators, ids, instances
from shoal.control.store.records import NotFound
from shoal.control.web.render import page
from shoal.control.web.visit import CONSOLE, Visit, form_of, new_request_id, set_visit, visit_of
from shoal.core.console.models import Account

_LOG = logging.getLogger(__name__)

SESSION_COOKIE = "shoal_session"
ANONYMOUS_COOKIE = "shoal_visit"
CSRF_FIELD = "csrf"
CSRF_HEADER = "X-CSRF-Token"
# Reached without being signed in.
OPEN_PATHS = frozenset({"/console/sign-in", "/console/setup"})
_STATIC = "/console/static/"

_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; "
        "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}


@web.middleware
async def with_headers(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Add the headers that keep a browser from doing what no page here asks for."""
    answer = await handler(request)
    for name, value in _HEADERS.items():
        answer.headers[name] = value
    if request.app[CONSOLE].secure:
        answer.headers["Strict-Transport-Security"] = "max-age=31536000"
    answer.headers.setdefault("Cache-Control", "no-store")
    return answer


@web.middleware
async def with_visit(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Find the session; send who has none to sign in; turn errors into pages."""
    if request.path.startswith(_STATIC):
        return await handler(request)
    console = request.app[CONSOLE]
    token = request.cookies.get(SESSION_COOKIE, "")
    now_s = console.now_s
    found = await console.read(lambda c: _signed_in(c, token, now_s=now_s))
    session = found.session
    known = request.cookies.get(ANONYMOUS_COOKIE, "")
    anonymous = known if 20 <= len(known) <= 100 else ids.web_token()
    visit = Visit(
        request, console, session, anonymous, new_request_id(), found.accounts, found.regions
    )
    set_visit(request, visit)
    if session is not None and administrators.is_to_be_noted(session, now_s=now_s):
        in_use = session
        await visit.change(lambda change: administrators.seen(change, in_use))
    answer = await _as_page(visit, handler)
    answer.headers["X-Request-Id"] = visit.request_id
    if session is None and anonymous != known:
        set_cookie(visit, answer, ANONYMOUS_COOKIE, anonymous)
    return answer


@dataclass(frozen=True, slots=True)
class _SignedIn:
    session: administrators.Session | None
    accounts: list[Account] = field(default_factory=list)
    regions: list[str] = field(default_factory=list)


def _signed_in(connection: Connection, token: str, *, now_s: int) -> _SignedIn:
    session = administrators.session(connection, token, now_s=now_s) if token else None
    if session is None:
        return _SignedIn(None)
    return _SignedIn(
        session, accounts.find_all(connection), instances.regions(connection, session.account)
    )


async def _as_page(visit: Visit, handler: Handler) -> web.StreamResponse:
    try:
        refused = await _refusal(visit)
        return refused or await handler(visit.request)
    except NotFound as missing:
        return problem(visit, 404, str(missing))
    except web.HTTPRedirection as redirect:
        return web.Response(
            status=redirect.status, headers={"Location": redirect.headers["Location"]}
        )
    except web.HTTPException as error:
        if error.status == HTTPStatus.NOT_FOUND:
            return problem(visit, 404, "There is no such page.")
        return problem(visit, error.status, error.reason)
    except Exception:
        _LOG.exception("page_failed", extra={"request_id": visit.request_id})
        return problem(
            visit, 500, "This is a fault of the console; nothing was changed. Its log says more."
        )


async def _refusal(visit: Visit) -> web.StreamResponse | None:
    request = visit.request
    if visit.session is None and request.path not in OPEN_PATHS:
        if request.method == "GET":
            raise web.HTTPSeeOther("/console/sign-in")
        return problem(visit, 401, "Your session has ended. Sign in, and do it once more.")
    if request.method in ("GET", "HEAD"):
        return None
    fetch_site = request.headers.get("Sec-Fetch-Site", "same-origin")
    posted = await request.post()
    lists: dict[str, list[str]] = {}
    for name in posted:
        lists[name] = [text for text in posted.getall(name) if isinstance(text, str)]
    visit.form = form_of(posted, lists)
    token = request.headers.get(CSRF_HEADER) or visit.form.values.pop(CSRF_FIELD, "")
    if fetch_site not in ("same-origin", "none") or not visit.is_own_form(token):
        await visit.console.denied(
            visit.author, action=f"POST {request.path}"[:200], resource="", reason="forged form"
        )
        return problem(
            visit,
            403,
            "This form was not made for your session. Load the page again, then send it.",
        )
    return None


def problem(visit: Visit, status: int, message: str) -> web.Response:
    """Return a page that says what went wrong."""
    title = HTTPStatus(status).phrase if status in list(HTTPStatus) else "Problem"
    return page(visit, "problem.html", status=status, title=title, message=message)


def set_cookie(visit: Visit, answer: web.StreamResponse, name: str, value: str) -> None:
    """Give the browser a cookie that only this console's pages get, and no script."""
    answer.set_cookie(
        name, value, path="/console", httponly=True, samesite="Lax", secure=visit.console.secure
    )


PageHandler = Callable[[Visit], Awaitable[web.StreamResponse]]


def for_visit(handler: PageHandler) -> Handler:
    """Return a handler of aiohttp for one that takes the visit."""

    async def handle(request: web.Request) -> web.StreamResponse:
        return await handler(visit_of(request))

    return handle
