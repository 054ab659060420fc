"""The first administrator, signing in and signing out."""

import asyncio
import hmac
from dataclasses import dataclass, field

from aiohttp import web

from shoal.control import passwords
from shoal.control.store import administrators
from shoal.control.store.changes import Author
from shoal.control.web.render import page
from shoal.control.web.security import SESSION_COOKIE, for_visit, problem, set_cookie
from shoal.control.web.visit import Visit
from shoal.core.console import fields

TRIES = 5
TRIES_WITHIN_S = 60
_REMEMBERED = 10_000  # names and addresses; the oldest go first
_WRONG = "That is not a name and password of this console."


@dataclass(slots=True)
class Tries:
    """Counts failed attempts by key within a minute, for a bounded number of keys."""

    failed: dict[str, list[int]] = field(default_factory=dict)

    def is_too_many(self, key: str, *, now_s: int) -> bool:
        """Return whether `key` has to wait."""
        recent = [at for at in self.failed.get(key, []) if now_s - at < TRIES_WITHIN_S]
        return len(recent) >= TRIES

    def add(self, key: str, *, now_s: int) -> None:
        """Count one failure."""
        recent = [at for at in self.failed.pop(key, []) if now_s - at < TRIES_WITHIN_S]
        self.failed[key] = [*recent[-TRIES:], now_s]
        while len(self.failed) > _REMEMBERED:
            del self.failed[next(iter(self.failed))]


class Entry:
    """The pages that need no session."""

    def __init__(self) -> None:
        self._tries = Tries()
        # For names that do not exist: the answer takes as long, so it tells nobody which do.
        self._nobody = passwords.hash_password("nobody has this password")
        self._hashing = asyncio.Semaphore(2)  # each takes 32 MiB and a core

    def routes(self) -> list[web.RouteDef]:
        """Return the pages' addresses."""
        return [
            web.get("/setup", for_visit(self._setup_page)),
            web.post("/setup", for_visit(self._setup)),
            web.get("/sign-in", for_visit(self._sign_in_page)),
            web.post("/sign-in", for_visit(self._sign_in)),
            web.post("/sign-out", for_visit(self._sign_out)),
        ]

    async def _setup_page(self, visit: Visit) -> web.StreamResponse:
        if await visit.read(administrators.names):
            raise web.HTTPSeeOther("/console/sign-in")
        visit.form.values.setdefault("code", visit.request.query.get("code", ""))
        return page(visit, "setup.html")

    async def _setup(self, visit: Visit) -> web.StreamResponse:
        form = visit.form
        if self._must_wait(visit, "setup"):
            return problem(visit, 429, "Too many wrong codes: wait a minute.")
        code = form.values.get("code", "").strip()
        if not hmac.compare_digest(code.encode(), visit.console.setup_code.encode()):
            form.errors["code"] = "This is not the code that the console printed when it started."
            await self._failed(visit, "setup", "wrong setup code")
        name = form.take("name", fields.principal)
        password = new_password(visit, name)
        if not form.is_good:
            return await self._setup_page(visit)
        hash_ = await self._hashed(password)

        if not await visit.attempt(
            lambda change: administrators.first_administrator(change, name, hash_=hash_),
            action="CreateAdministrator",
            resource=name,
        ):
            return await self._setup_page(visit)
        return await self._signed_in(visit, name)

    async def _sign_in_page(self, visit: Visit) -> web.StreamResponse:
        if visit.session is not None:
            raise web.HTTPSeeOther("/console/instances")
        if not await visit.read(administrators.names):
            raise web.HTTPSeeOther("/console/setup")
        return page(visit, "sign_in.html")

    async def _sign_in(self, visit: Visit) -> web.StreamResponse:
        name = visit.form.values.get("name", "").strip()[:64]
        password = visit.form.values.get("password", "")[: passwords.MAX_CHARS + 1]
        if self._must_wait(visit, name):
            return problem(visit, 429, "Too many failed attempts: wait a minute, then try again.")
        kept = await visit.read(lambda connection: administrators.password_hash(connection, name))
        async with self._hashing:
            right = await asyncio.to_thread(passwords.is_password, password, kept or self._nobody)
        if kept is None or not right:
            visit.form.general = _WRONG
            await self._failed(visit, name, "wrong name or password")
            return page(visit, "sign_in.html")
        return await self._signed_in(visit, name)

    async def _signed_in(self, visit: Visit, name: str) -> web.StreamResponse:
        author = Author(name, visit.request.remote or "", visit.request_id)
        token = await visit.console.change(
            author, lambda change: administrators.sign_in(change, name)
        )
        answer = web.Response(status=303, headers={"Location": "/console/instances"})
        set_cookie(visit, answer, SESSION_COOKIE, token)
        return answer

    async def _sign_out(self, visit: Visit) -> web.StreamResponse:
        session = visit.session
        if session is not None:
            await visit.change(lambda change: administrators.sign_out(change, session))
        answer = web.Response(status=303, headers={"Location": "/console/sign-in"})
        answer.del_cookie(SESSION_COOKIE, path="/console")
        return answer

    def _must_wait(self, visit: Visit, name: str) -> bool:
        now_s = visit.console.now_s
        keys = (f"name {name}", f"address {visit.request.remote}")
        return any(self._tries.is_too_many(key, now_s=now_s) for key in keys)

    async def _failed(self, visit: Visit, name: str, reason: str) -> None:
        for key in (f"name {name}", f"address {visit.request.remote}"):
            self._tries.add(key, now_s=visit.console.now_s)
        await visit.console.denied(
            visit.author, action="SignIn", resource=f"administrator/{name}", reason=reason
        )

    async def _hashed(self, password: str) -> str:
        async with self._hashing:
            return await asyncio.to_thread(passwords.hash_password, password)


def new_password(visit: Visit, name: str) -> str:
    """Return the form's new password, which has to be typed twice; errors go to the form."""
    form = visit.form
    password = form.values.pop("password", "")
    again = form.values.pop("password_again", "")
    try:
        passwords.check_new(password, name=name)
    except passwords.WeakPassword as weak:
        form.errors["password"] = f"{str(weak).capitalize()}."
    if "password" not in form.errors and password != again:
        form.errors["password_again"] = "The two passwords differ."  # noqa: S105 # a field's name
    return password
