"""The audit trail, the people who sign in, and one's own password."""

import asyncio

from aiohttp import web
from sqlalchemy import Connection

from shoal.control import passwords
from shoal.control.store import administrators, changes
from shoal.control.web.entry import new_password
from shoal.control.web.render import page
from shoal.control.web.security import for_visit
from shoal.control.web.visit import Visit
from shoal.core.console import fields

EVENTS_A_PAGE = 50
_BEFORE = fields.optional(fields.whole(1, 999_999_999))


def routes() -> list[web.RouteDef]:
    """Return the pages' addresses."""
    return [
        web.get("/audit", for_visit(_audit_page)),
        web.get("/administrators", for_visit(_people_page)),
        web.post("/administrators", for_visit(_add)),
        web.post("/administrators/remove", for_visit(_remove)),
        web.post("/administrators/password", for_visit(_change_password)),
    ]


async def _audit_page(visit: Visit) -> web.StreamResponse:
    query = visit.request.query
    visit.form.values["before"] = query.get("before", "")
    before = visit.form.take("before", _BEFORE)
    only_denied = query.get("denied") == "1"
    resource = query.get("resource", "")[:200]
    found = await visit.read(
        lambda connection: changes.events(
            connection,
            before_id=int(before) if before else None,
            limit=EVENTS_A_PAGE + 1,
            only_denied=only_denied,
            resource=resource,
        )
    )
    return page(
        visit,
        "audit.html",
        events=found[:EVENTS_A_PAGE],
        has_more=len(found) > EVENTS_A_PAGE,
        only_denied=only_denied,
        resource=resource,
    )


async def _people_page(visit: Visit) -> web.StreamResponse:
    def load(connection: Connection) -> list[tuple[str, int]]:
        return [
            (name, administrators.open_sessions(connection, name))
            for name in administrators.names(connection)
        ]

    return page(visit, "administrators.html", people=await visit.read(load))


async def _add(visit: Visit) -> web.StreamResponse:
    name = visit.form.take("name", fields.principal)
    password = new_password(visit, name)
    if visit.form.is_good:
        hash_ = await asyncio.to_thread(passwords.hash_password, password)
        if await visit.attempt(
            lambda change: administrators.add_administrator(change, name, hash_=hash_),
            action="CreateAdministrator",
            resource=f"administrator/{name}",
        ):
            raise web.HTTPSeeOther("/console/administrators")
    return await _people_page(visit)


async def _remove(visit: Visit) -> web.StreamResponse:
    name = visit.form.values.get("remove", "")
    if await visit.attempt(
        lambda change: administrators.remove_administrator(change, name),
        action="DeleteAdministrator",
        resource=f"administrator/{name}",
    ):
        raise web.HTTPSeeOther("/console/administrators")
    return await _people_page(visit)


async def _change_password(visit: Visit) -> web.StreamResponse:
    assert visit.session is not None  # noqa: S101 # no page but two is shown without one
    name = visit.session.administrator
    old = visit.form.values.pop("old_password", "")[: passwords.MAX_CHARS + 1]
    kept = await visit.read(lambda connection: administrators.password_hash(connection, name)) or ""
    if not await asyncio.to_thread(passwords.is_password, old, kept):
        visit.form.errors["old_password"] = "This is not your password."  # noqa: S105 # a field's name
        await visit.console.denied(
            visit.author,
            action="ChangePassword",
            resource=f"administrator/{name}",
            reason="wrong password",
        )
    password = new_password(visit, name)
    if not visit.form.is_good:
        return await _people_page(visit)
    hash_ = await asyncio.to_thread(passwords.hash_password, password)
    await visit.change(lambda change: administrators.set_password(change, name, hash_=hash_))
    raise web.HTTPSeeOther("/console/sign-in")
