"""The metadata service of a cloud's node: its region and VPC, and credentials of its worker role.

Whoever reaches it is the node: it listens on an address of its own, which only nodes may reach, and
is off unless it was asked for. Hardened, it answers only with a token, which a web page or a proxy
that was tricked into asking cannot get: that takes a PUT, and one that came through no proxy.
"""

import json
import secrets
from collections import OrderedDict
from dataclasses import dataclass

from aiohttp import web
from sqlalchemy import Connection

from shoal.control.api import sessions
from shoal.control.api.actions import stamp
from shoal.control.console import Console
from shoal.control.store import access, clusters
from shoal.control.store.records import NotFound
from shoal.core.console.models import Role
from shoal.core.iam.policies import Decision
from shoal.core.iam.trust import Caller, may_assume

SESSION_S = 6 * 3600
MAX_TOKEN_TTL_S = 21_600  # Source: the cloud's documentation, 1 to 21600
MAX_TOKENS = 10_000  # the oldest goes: a node that asks again gets another
TOKEN_HEADER = "X-aliyun-ecs-metadata-token"  # noqa: S105 (a header's name)
TTL_HEADER = f"{TOKEN_HEADER}-ttl-seconds"
_ECS = Caller("Service", ("ecs.aliyuncs.com",))
_ROLES = "/latest/meta-data/ram/security-credentials/"


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """What the asking node is: one of a cluster, with a role by name."""

    cluster_id: str
    role: str
    token_only: bool = False


def build(console: Console, node: Node) -> web.Application:
    """Return the service for nodes that are all alike."""
    service = _Service(console, node)
    app = web.Application(client_max_size=1024)
    app.router.add_put("/latest/api/token", service.token)
    app.router.add_get("/latest/meta-data/{name}", service.fact)
    app.router.add_get(_ROLES, service.role_name)
    app.router.add_get(_ROLES + "{role}", service.credentials)
    return app


class _Service:
    def __init__(self, console: Console, node: Node) -> None:
        self._console = console
        self._node = node
        self._tokens: OrderedDict[str, int] = OrderedDict()  # token -> when it ends

    async def token(self, request: web.Request) -> web.Response:
        ttl = request.headers.get(TTL_HEADER, "")
        if "X-Forwarded-For" in request.headers:
            raise web.HTTPForbidden(text="not through a proxy\n")
        if not (ttl.isascii() and ttl.isdigit() and 1 <= int(ttl[:6]) <= MAX_TOKEN_TTL_S):
            raise web.HTTPBadRequest(text=f"{TTL_HEADER}: 1 to {MAX_TOKEN_TTL_S}\n")
        token = secrets.token_urlsafe(32)
        self._tokens[token] = self._console.now_s + int(ttl)
        if len(self._tokens) > MAX_TOKENS:
            self._tokens.popitem(last=False)
        return web.Response(text=token)

    async def fact(self, request: web.Request) -> web.Response:
        self._admit(request)
        cluster = await self._console.read(lambda c: clusters.find(c, self._node.cluster_id))
        name = request.match_info["name"]
        facts = {
            "region-id": cluster.region,
            "vpc-id": cluster.vpc_id,
            "owner-account-id": cluster.account,
        }
        found = facts.get(name)
        if found is None:
            raise web.HTTPNotFound
        return web.Response(text=found)

    async def role_name(self, request: web.Request) -> web.Response:
        self._admit(request)
        return web.Response(text=(await self._role()).name)

    async def credentials(self, request: web.Request) -> web.Response:
        self._admit(request)
        role = await self._role()
        if request.match_info["role"] != role.name:
            raise web.HTTPNotFound
        now_s = self._console.now_s
        session = sessions.Session(role.id, "worker", now_s + SESSION_S, "")
        made = sessions.issue(self._console.vault, session)
        answer = {
            "AccessKeyId": made.key_id,
            "AccessKeySecret": made.secret,
            "SecurityToken": made.token,
            "Expiration": stamp(session.expires_at_s),
            "LastUpdated": stamp(now_s),
            "Code": "Success",
        }
        return web.Response(text=json.dumps(answer), content_type="text/plain")

    def _admit(self, request: web.Request) -> None:
        token = request.headers.get(TOKEN_HEADER)
        if token is None and not self._node.token_only:
            return
        if token is None or self._tokens.get(token, 0) <= self._console.now_s:
            raise web.HTTPForbidden(text="ask PUT /latest/api/token for a token first\n")

    async def _role(self) -> Role:
        def find(connection: Connection) -> Role:
            try:
                cluster = clusters.find(connection, self._node.cluster_id)
                role = access.role(connection, cluster.account, self._node.role)
            except NotFound:
                raise web.HTTPNotFound from None
            if may_assume(role.trust, _ECS) is not Decision.ALLOWED:
                raise web.HTTPNotFound  # as for a node that no role was attached to
            return role

        return await self._console.read(find)
