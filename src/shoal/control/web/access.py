"""Access: users with their keys, roles, policies, and OIDC providers."""

from collections.abc import Callable

from aiohttp import web
from sqlalchemy import Connection

from shoal.control.store import access
from shoal.control.store.changes import Change
from shoal.control.store.records import AlreadyExists
from shoal.control.web.render import page
from shoal.control.web.security import for_visit
from shoal.control.web.visit import Visit
from shoal.core.console import documents, fields
from shoal.core.console.models import OidcProvider, PrincipalKind, ram_arn

MAX_SESSION = fields.whole(3600, 43200)  # seconds. Source: MaxSessionDuration of a RAM role
_KINDS = {"users": PrincipalKind.USER, "roles": PrincipalKind.ROLE}


def routes() -> list[web.RouteDef]:
    """Return the pages' addresses."""
    return [
        web.get("/access/users", for_visit(_users_page)),
        web.post("/access/users", for_visit(_create_user)),
        web.get("/access/users/{name}", for_visit(_user_page)),
        web.post("/access/users/{name}/keys", for_visit(_keys)),
        web.get("/access/roles", for_visit(_roles_page)),
        web.get("/access/roles/new", for_visit(_new_role_page)),
        web.post("/access/roles/new", for_visit(_put_role)),
        web.get("/access/roles/{name}", for_visit(_role_page)),
        web.post("/access/roles/{name}", for_visit(_put_role)),
        web.post("/access/{kind:users|roles}/{name}/policies", for_visit(_attach)),
        web.post("/access/{kind:users|roles}/{name}/delete", for_visit(_delete_principal)),
        web.get("/access/policies", for_visit(_policies_page)),
        web.get("/access/policies/new", for_visit(_new_policy_page)),
        web.post("/access/policies/new", for_visit(_put_policy)),
        web.post("/access/policies/check", for_visit(_check)),
        web.get("/access/policies/{name}", for_visit(_policy_page)),
        web.post("/access/policies/{name}", for_visit(_put_policy)),
        web.post("/access/policies/{name}/delete", for_visit(_delete_policy)),
        web.get("/access/oidc", for_visit(_oidc_page)),
        web.post("/access/oidc", for_visit(_put_provider)),
        web.post("/access/oidc/delete", for_visit(_delete_provider)),
    ]


def _name(visit: Visit) -> str:
    return visit.request.match_info["name"]


async def _apply(
    visit: Visit, work: Callable[[Change], object], *, action: str, resource: str, then: str
) -> None:
    """Make a change and go on to `then`; on a refusal just return, for the page to say so."""
    if visit.form.is_good and await visit.attempt(work, action=action, resource=resource):
        raise web.HTTPSeeOther(then)


# --- Users ----------------------------------------------------------------------------------------


async def _users_page(visit: Visit) -> web.StreamResponse:
    def load(connection: Connection) -> dict[str, object]:
        return {
            "users": [
                (
                    user,
                    access.keys(connection, visit.account, user.name),
                    access.policies_of(connection, visit.account, PrincipalKind.USER, user.name),
                )
                for user in access.users(connection, visit.account)
            ]
        }

    return page(visit, "users.html", await visit.read(load))


async def _create_user(visit: Visit) -> web.StreamResponse:
    name = visit.form.take("name", fields.principal)
    comment = visit.form.take("comment", fields.line)
    await _apply(
        visit,
        lambda change: access.create_user(change, visit.account, name, comment=comment),
        action="CreateUser",
        resource=ram_arn(visit.account, "user", name),
        then=f"/console/access/users/{name}",
    )
    return await _users_page(visit)


async def _user_page(
    visit: Visit, *, new_key: str = "", new_secret: str = ""
) -> web.StreamResponse:
    name = _name(visit)

    def load(connection: Connection) -> dict[str, object]:
        return {
            "user": access.user(connection, visit.account, name),
            "keys": access.keys(connection, visit.account, name),
            **_attachable(connection, visit.account, PrincipalKind.USER, name),
        }

    loaded = await visit.read(load)
    return page(visit, "user.html", loaded, new_key=new_key, new_secret=new_secret)


def _attachable(
    connection: Connection, account: str, kind: PrincipalKind, name: str
) -> dict[str, object]:
    attached = access.policies_of(connection, account, kind, name)
    return {
        "attached": attached,
        "attachable": [one for one in access.policies(connection, account) if one not in attached],
    }


async def _keys(visit: Visit) -> web.StreamResponse:
    name, form = _name(visit), visit.form
    action, key_id = form.values.get("do", ""), form.values.get("key_id", "")
    if action == "create":
        made: list[str] = []

        def create(change: Change) -> None:
            key, secret = access.create_key(change, visit.console.vault, visit.account, name)
            made.extend((key.id, secret))

        if await visit.attempt(
            create, action="CreateAccessKey", resource=ram_arn(visit.account, "user", name)
        ):
            # Answered at once instead of by a redirect: the secret is in no address and no store.
            return await _user_page(visit, new_key=made[0], new_secret=made[1])
        return await _user_page(visit)

    def work(change: Change) -> None:
        if action == "delete":
            access.remove_key(change, visit.account, name, key_id)
        else:
            access.set_key_active(change, visit.account, name, key_id, active=action == "on")

    await _apply(
        visit,
        work,
        action="UpdateAccessKey",
        resource=ram_arn(visit.account, "user", name),
        then=f"/console/access/users/{name}",
    )
    return await _user_page(visit)


# --- Roles ----------------------------------------------------------------------------------------


async def _roles_page(visit: Visit) -> web.StreamResponse:
    def load(connection: Connection) -> dict[str, object]:
        return {
            "roles": [
                (role, access.policies_of(connection, visit.account, PrincipalKind.ROLE, role.name))
                for role in access.roles(connection, visit.account)
            ],
        }

    return page(visit, "roles.html", await visit.read(load))


async def _new_role_page(visit: Visit) -> web.StreamResponse:
    providers = await visit.read(lambda connection: access.providers(connection, visit.account))
    values = visit.form.values
    if providers:
        provider = providers[0]
        example = documents.trust_document(provider_arn=provider.arn, issuer=provider.issuer)
    else:
        example = documents.trust_document(
            provider_arn="<oidc_provider_arn>", issuer="<oidc_issuer_url>"
        )
    values.setdefault("trust", example)
    values.setdefault("max_session_s", "3600")
    return page(visit, "role.html", role=None, attached=[], attachable=[])


async def _role_page(visit: Visit) -> web.StreamResponse:
    name = _name(visit)

    def load(connection: Connection) -> dict[str, object]:
        role = access.role(connection, visit.account, name)
        visit.form.values.setdefault("comment", role.comment)
        visit.form.values.setdefault("trust", role.trust)
        visit.form.values.setdefault("max_session_s", str(role.max_session_s))
        return {"role": role, **_attachable(connection, visit.account, PrincipalKind.ROLE, name)}

    return page(visit, "role.html", await visit.read(load))


async def _put_role(visit: Visit) -> web.StreamResponse:
    form = visit.form
    known = visit.request.match_info.get("name")
    name = known or form.take("name", fields.principal)
    comment = form.take("comment", fields.line)
    trust = _document(visit, "trust", trust=True)
    max_session = form.take("max_session_s", MAX_SESSION)

    def work(change: Change) -> None:
        if known is not None:
            access.role(change.connection, visit.account, known)
        elif any(one.name == name for one in access.roles(change.connection, visit.account)):
            raise AlreadyExists(f"there is a role {name} already")
        access.put_role(
            change,
            visit.account,
            name,
            comment=comment,
            trust=trust,
            max_session_s=int(max_session),
        )

    await _apply(
        visit,
        work,
        action="UpdateRole" if known else "CreateRole",
        resource=ram_arn(visit.account, "role", name),
        then=f"/console/access/roles/{name}",
    )
    return await (_role_page(visit) if known else _new_role_page(visit))


async def _attach(visit: Visit) -> web.StreamResponse:
    kind, name = _KINDS[visit.request.match_info["kind"]], _name(visit)
    attach, detach = visit.form.values.get("attach", ""), visit.form.values.get("detach", "")

    def work(change: Change) -> None:
        if detach:
            access.detach(change, visit.account, detach, kind, name)
        else:
            access.attach(change, visit.account, attach, kind, name)

    await _apply(
        visit,
        work,
        action="AttachPolicy",
        resource=ram_arn(visit.account, kind, name),
        then=f"/console/access/{kind}s/{name}",
    )
    return await (_user_page(visit) if kind is PrincipalKind.USER else _role_page(visit))


async def _delete_principal(visit: Visit) -> web.StreamResponse:
    kind, name = _KINDS[visit.request.match_info["kind"]], _name(visit)
    remove = access.remove_user if kind is PrincipalKind.USER else access.remove_role
    await visit.change(lambda change: remove(change, visit.account, name))
    raise web.HTTPSeeOther(f"/console/access/{kind}s")


# --- Policies -------------------------------------------------------------------------------------


async def _policies_page(visit: Visit) -> web.StreamResponse:
    policies, counts = await visit.read(
        lambda connection: (
            access.policies(connection, visit.account),
            access.counts(connection, visit.account),
        )
    )
    return page(visit, "policies.html", policies=policies, counts=counts)


async def _new_policy_page(visit: Visit) -> web.StreamResponse:
    visit.form.values.setdefault("document", documents.PERMISSIONS)
    return page(visit, "policy.html", policy=None, holders=[])


async def _policy_page(visit: Visit) -> web.StreamResponse:
    name = _name(visit)
    policy, holders = await visit.read(
        lambda connection: (
            access.policy(connection, visit.account, name),
            access.attached_to(connection, visit.account, name),
        )
    )
    visit.form.values.setdefault("comment", policy.comment)
    visit.form.values.setdefault("document", policy.document)
    return page(visit, "policy.html", policy=policy, holders=holders)


async def _put_policy(visit: Visit) -> web.StreamResponse:
    form = visit.form
    known = visit.request.match_info.get("name")
    name = known or form.take("name", fields.principal)
    comment = form.take("comment", fields.line)
    document = _document(visit, "document", trust=False)

    def work(change: Change) -> None:
        if known is not None:
            access.policy(change.connection, visit.account, known)
        elif any(one.name == name for one in access.policies(change.connection, visit.account)):
            raise AlreadyExists(f"there is a policy {name} already")
        access.put_policy(change, visit.account, name, comment=comment, document=document)

    await _apply(
        visit,
        work,
        action="UpdatePolicy" if known else "CreatePolicy",
        resource=ram_arn(visit.account, "policy", name),
        then=f"/console/access/policies/{name}",
    )
    return await (_policy_page(visit) if known else _new_policy_page(visit))


async def _delete_policy(visit: Visit) -> web.StreamResponse:
    name = _name(visit)
    await _apply(
        visit,
        lambda change: access.remove_policy(change, visit.account, name),
        action="DeletePolicy",
        resource=ram_arn(visit.account, "policy", name),
        then="/console/access/policies",
    )
    return await _policy_page(visit)


async def _check(visit: Visit) -> web.StreamResponse:
    """Say what is wrong with a document while it is being typed."""
    found = documents.problems(
        visit.form.values.get("document", ""), trust=visit.form.values.get("kind") == "trust"
    )
    return web.json_response([{"where": one.where, "message": one.message} for one in found])


def _document(visit: Visit, field: str, *, trust: bool) -> str:
    text = visit.form.values.get(field, "").strip()
    found = documents.problems(text, trust=trust)
    if found:
        visit.form.errors[field] = "\n".join(f"{one.where}: {one.message}" for one in found)
    return text


# --- OIDC providers -------------------------------------------------------------------------------


async def _oidc_page(visit: Visit) -> web.StreamResponse:
    providers = await visit.read(lambda connection: access.providers(connection, visit.account))
    visit.form.values.setdefault("audiences", "sts.aliyuncs.com")
    return page(visit, "oidc.html", providers=providers)


async def _put_provider(visit: Visit) -> web.StreamResponse:
    form = visit.form
    provider = OidcProvider(
        account=visit.account,
        name=form.take("name", fields.principal),
        issuer=form.take("issuer", fields.issuer),
        audiences=tuple(form.take("audiences", fields.domains).split()),
        keys=form.take("keys", fields.key_set),
        created_at=visit.console.now_s,
    )
    await _apply(
        visit,
        lambda change: access.put_provider(change, provider),
        action="PutOIDCProvider",
        resource=provider.arn,
        then="/console/access/oidc",
    )
    return await _oidc_page(visit)


async def _delete_provider(visit: Visit) -> web.StreamResponse:
    name = visit.form.values.get("delete", "")
    await _apply(
        visit,
        lambda change: access.remove_provider(change, visit.account, name),
        action="DeleteOIDCProvider",
        resource=ram_arn(visit.account, "oidc-provider", name),
        then="/console/access/oidc",
    )
    return await _oidc_page(visit)
