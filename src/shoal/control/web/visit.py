"""One request of a browser: who it is, what it may, and what its form holds."""

import hashlib
import hmac
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeVar

from aiohttp import web
from sqlalchemy import Connection

from shoal.control.console import Console
from shoal.control.store import administrators, ids
from shoal.control.store.changes import Author, Change
from shoal.control.store.records import AlreadyExists, StillInUse
from shoal.core.console.fields import Check
from shoal.core.console.models import Account
from shoal.core.console.switch import SwitchRefused
from shoal.core.errors import BadInput

CONSOLE: Final = web.AppKey("console", Console)

T = TypeVar("T")

_REFUSALS = (AlreadyExists, StillInUse, SwitchRefused, BadInput)


@dataclass(slots=True)
class Form:
    """A form's fields as they were typed, and what is wrong with each."""

    values: dict[str, str] = field(default_factory=dict)
    lists: dict[str, list[str]] = field(default_factory=dict)
    errors: dict[str, str] = field(default_factory=dict)
    general: str = ""  # what is wrong with the whole

    def take(self, name: str, check: Check) -> str:
        """Return a field by its check, or "" after noting what is wrong with it."""
        try:
            return check(self.values.get(name, "").strip())
        except BadInput as error:
            self.errors[name] = f"Expected {error}."
            return ""

    def ticked(self, name: str) -> bool:
        """Return whether a box is ticked."""
        return bool(self.values.get(name))

    @property
    def is_good(self) -> bool:
        """Whether nothing is wrong so far."""
        return not self.errors and not self.general


@dataclass(slots=True)
class Visit:
    """A request with what was found out about it before its page is asked."""

    request: web.Request
    console: Console
    session: administrators.Session | None
    anonymous_token: str  # of the cookie that stands in for a session before sign-in
    request_id: str
    accounts: Sequence[Account] = ()
    regions: Sequence[str] = ()  # those in which the account has instances
    form: Form = field(default_factory=Form)

    @property
    def path_id(self) -> str:
        """The instance or cluster that the address names; only for routes with `{id}`."""
        return self.request.match_info["id"]

    @property
    def csrf_token(self) -> str:
        """What a form of this browser has to send."""
        if self.session is not None:
            return self.session.csrf_token
        return hashlib.sha256(f"csrf {self.anonymous_token}".encode()).hexdigest()

    def is_own_form(self, token: str) -> bool:
        """Return whether a form with `token` was made for this browser."""
        return hmac.compare_digest(token.encode(), self.csrf_token.encode())

    @property
    def account(self) -> str:
        """The account that is looked at; "" before sign-in."""
        return self.session.account if self.session is not None else ""

    @property
    def region(self) -> str:
        """The region that is looked at; "" for all."""
        return self.session.region if self.session is not None else ""

    @property
    def author(self) -> Author:
        """Who is to be named in the audit trail."""
        name = self.session.administrator if self.session is not None else "anonymous"
        return Author(name, self.request.remote or "", self.request_id)

    async def read(self, work: Callable[[Connection], T]) -> T:
        """Return what `work` reads from the database."""
        return await self.console.read(work)

    async def change(self, work: Callable[[Change], T]) -> T:
        """Return what `work` returns once its change is committed."""
        return await self.console.change(self.author, work)

    async def attempt(self, work: Callable[[Change], T], *, action: str, resource: str) -> bool:
        """Make a change whose rules may say no; then tell the form and the audit trail why.

        NotFound is not caught: it is a page of its own.
        """
        try:
            await self.change(work)
        except _REFUSALS as refused:
            self.form.general = str(refused)
            await self.console.denied(
                self.author, action=action, resource=resource, reason=str(refused)
            )
            return False
        return True


_VISIT: Final = web.RequestKey("visit", Visit)


def set_visit(request: web.Request, visit: Visit) -> None:
    """Attach what was found out about a request."""
    request[_VISIT] = visit


def visit_of(request: web.Request) -> Visit:
    """Return what was found out about a request."""
    return request[_VISIT]


def form_of(data: Mapping[str, object], lists: dict[str, list[str]]) -> Form:
    """Return the texts of a posted form; files have no place in any of ours."""
    return Form(
        values={name: value for name, value in data.items() if isinstance(value, str)}, lists=lists
    )


def new_request_id() -> str:
    """Return an id that the answer and the audit trail both name."""
    return ids.request_id()
