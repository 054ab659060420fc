"""Accounts: the list, a further one, and which one the pages show."""

from aiohttp import web
from sqlalchemy import Connection

from shoal.control.store import access, accounts, administrators, clusters, instances
from shoal.control.web.render import page
from shoal.control.web.security import for_visit
from shoal.control.web.visit import Visit
from shoal.core.console import fields


def routes() -> list[web.RouteDef]:
    """Return the pages' addresses."""
    return [
        web.get("/accounts", for_visit(_list_page)),
        web.post("/accounts", for_visit(_create)),
        web.post("/choose", for_visit(_choose)),
    ]


async def _list_page(visit: Visit) -> web.StreamResponse:
    def load(connection: Connection) -> dict[str, object]:
        return {
            "owned": [
                (
                    account,
                    len(instances.find_all(connection, account=account.id)),
                    len(clusters.find_all(connection, account=account.id)),
                    len(access.users(connection, account.id)),
                    len(access.roles(connection, account.id)),
                )
                for account in visit.accounts
            ]
        }

    return page(visit, "accounts.html", await visit.read(load))


async def _create(visit: Visit) -> web.StreamResponse:
    name = visit.form.take("name", fields.principal)
    if visit.form.is_good and await visit.attempt(
        lambda change: accounts.create(change, name), action="CreateAccount", resource=name
    ):
        raise web.HTTPSeeOther("/console/accounts")
    return await _list_page(visit)


async def _choose(visit: Visit) -> web.StreamResponse:
    session = visit.session
    assert session is not None  # noqa: S101 # no page but two is shown without one
    account = visit.form.values.get("account") or session.account
    region = visit.form.take("region", fields.optional(fields.region))
    if account != session.account:
        region = ""  # where the other account has instances is another matter
    if visit.form.is_good:
        await visit.change(
            lambda change: administrators.choose(change, session, account=account, region=region)
        )
    raise web.HTTPSeeOther("/console/instances")
