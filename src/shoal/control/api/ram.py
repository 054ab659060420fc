"""RAM, version 2015-05-01: users, access keys and roles; policies are in `ram_policies`.

Changes are those that the pages make, by the same functions and with the same lines in the audit
trail.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from sqlalchemy import Connection

from shoal.control.api.actions import Action, Asked, invalid, stamp, whole
from shoal.control.api.faults import Fault
from shoal.control.store import access
from shoal.control.store.changes import Change
from shoal.control.store.records import AlreadyExists, NotFound, StillInUse
from shoal.core.console import fields
from shoal.core.console.documents import problems
from shoal.core.console.models import AccessKey, PrincipalKind, Role, User
from shoal.core.errors import BadInput

VERSION = "2015-05-01"
# Source: RAM's documentation of CreateRole, and of its lists.
MIN_SESSION_S, MAX_SESSION_S = 3600, 43_200
MAX_ITEMS, DEFAULT_ITEMS = 1000, 100

T = TypeVar("T")


async def create_user(asked: Asked) -> dict[str, object]:
    """Add a user."""
    name = named(asked, "UserName", "CreateUser", "user")
    comment = line_of(asked, "Comments") or line_of(asked, "DisplayName")
    made = await changed(
        asked,
        "User",
        lambda change: access.create_user(change, asked.account, name, comment=comment),
    )
    return {"User": _user(made)}


async def get_user(asked: Asked) -> dict[str, object]:
    """Describe a user."""
    name = named(asked, "UserName", "GetUser", "user")
    return {"User": _user(await read(asked, "User", lambda c: access.user(c, asked.account, name)))}


async def list_users(asked: Asked) -> dict[str, object]:
    """Describe all users, a page of them."""
    asked.caller.demand("ram:ListUsers", f"acs:ram:*:{asked.account}:user/*")
    found = await asked.console.read(lambda c: access.users(c, asked.account))
    shown, page = paged(asked, found, lambda user: user.name)
    return {"Users": {"User": [_user(user) for user in shown]}, **page}


async def delete_user(asked: Asked) -> dict[str, object]:
    """Delete a user that has no keys and no policies, as the cloud demands."""
    name = named(asked, "UserName", "DeleteUser", "user")

    def remove(change: Change) -> None:
        if access.keys(change.connection, asked.account, name):
            raise Fault(409, "DeleteConflict.User.AccessKey", f"{name} has access keys.")
        _unattached(change, asked.account, PrincipalKind.USER, name, "DeleteConflict.User.Policy")
        access.remove_user(change, asked.account, name)

    await changed(asked, "User", remove)
    return {}


async def create_access_key(asked: Asked) -> dict[str, object]:
    """Add an access key; its secret is told this once."""
    name = _own_or_named(asked, "CreateAccessKey")
    key, secret = await changed(
        asked,
        "User",
        lambda change: access.create_key(change, asked.console.vault, asked.account, name),
        limit="LimitExceeded.User.AccessKey",
    )
    return {"AccessKey": {**_key(key), "AccessKeySecret": secret}}


async def list_access_keys(asked: Asked) -> dict[str, object]:
    """Describe a user's access keys, without secrets."""
    name = _own_or_named(asked, "ListAccessKeys")

    def look(connection: Connection) -> list[AccessKey]:
        access.user(connection, asked.account, name)
        return access.keys(connection, asked.account, name)

    found = await read(asked, "User", look)
    return {"AccessKeys": {"AccessKey": [_key(key) for key in found]}}


async def update_access_key(asked: Asked) -> dict[str, object]:
    """Switch an access key on or off."""
    name, key_id = _own_or_named(asked, "UpdateAccessKey"), asked.text("UserAccessKeyId")
    status = asked.text("Status")
    if status not in ("Active", "Inactive"):
        raise invalid("Status", "Active or Inactive")
    active = status == "Active"
    await changed(
        asked,
        "User.AccessKey",
        lambda change: access.set_key_active(change, asked.account, name, key_id, active=active),
    )
    return {}


async def delete_access_key(asked: Asked) -> dict[str, object]:
    """Delete an access key."""
    name, key_id = _own_or_named(asked, "DeleteAccessKey"), asked.text("UserAccessKeyId")
    await changed(
        asked,
        "User.AccessKey",
        lambda change: access.remove_key(change, asked.account, name, key_id),
    )
    return {}


async def create_role(asked: Asked) -> dict[str, object]:
    """Add a role with its trust policy."""
    name = named(asked, "RoleName", "CreateRole", "role")
    trust = document_of(asked, "AssumeRolePolicyDocument", trust=True)
    session_s = _session_s(asked, "MaxSessionDuration", MIN_SESSION_S)
    comment = line_of(asked, "Description")

    def create(change: Change) -> Role:
        if any(role.name == name for role in access.roles(change.connection, asked.account)):
            raise AlreadyExists(f"there is a role {name} already")
        access.put_role(
            change, asked.account, name, comment=comment, trust=trust, max_session_s=session_s
        )
        return access.role(change.connection, asked.account, name)

    return {"Role": _role(await changed(asked, "Role", create))}


async def get_role(asked: Asked) -> dict[str, object]:
    """Describe a role."""
    name = named(asked, "RoleName", "GetRole", "role")
    return {"Role": _role(await read(asked, "Role", lambda c: access.role(c, asked.account, name)))}


async def list_roles(asked: Asked) -> dict[str, object]:
    """Describe all roles, a page of them, without their trust policies as the cloud does."""
    asked.caller.demand("ram:ListRoles", f"acs:ram:*:{asked.account}:role/*")
    found = await asked.console.read(lambda c: access.roles(c, asked.account))
    shown, page = paged(asked, found, lambda role: role.name)
    roles = [_role(role) for role in shown]
    for role in roles:
        del role["AssumeRolePolicyDocument"]
    return {"Roles": {"Role": roles}, **page}


async def update_role(asked: Asked) -> dict[str, object]:
    """Change a role's trust policy, description or longest session."""
    name = named(asked, "RoleName", "UpdateRole", "role")
    given = asked.parameters
    trust = (
        document_of(asked, "NewAssumeRolePolicyDocument", trust=True)
        if given.get("NewAssumeRolePolicyDocument")
        else None
    )

    def update(change: Change) -> Role:
        role = access.role(change.connection, asked.account, name)
        access.put_role(
            change,
            asked.account,
            name,
            comment=line_of(asked, "NewDescription") or role.comment,
            trust=trust or role.trust,
            max_session_s=_session_s(asked, "NewMaxSessionDuration", role.max_session_s),
        )
        return access.role(change.connection, asked.account, name)

    return {"Role": _role(await changed(asked, "Role", update))}


async def delete_role(asked: Asked) -> dict[str, object]:
    """Delete a role that has no policies, as the cloud demands; its sessions end."""
    name = named(asked, "RoleName", "DeleteRole", "role")

    def remove(change: Change) -> None:
        _unattached(change, asked.account, PrincipalKind.ROLE, name, "DeleteConflict.Role.Policy")
        access.remove_role(change, asked.account, name)

    await changed(asked, "Role", remove)
    return {}


ACTIONS: Mapping[str, Action] = {
    "CreateUser": create_user,
    "GetUser": get_user,
    "ListUsers": list_users,
    "DeleteUser": delete_user,
    "CreateAccessKey": create_access_key,
    "ListAccessKeys": list_access_keys,
    "UpdateAccessKey": update_access_key,
    "DeleteAccessKey": delete_access_key,
    "CreateRole": create_role,
    "GetRole": get_role,
    "ListRoles": list_roles,
    "UpdateRole": update_role,
    "DeleteRole": delete_role,
}


def named(asked: Asked, parameter: str, action: str, kind: str) -> str:
    """Return the name that a call is about, if the caller may do `action` with it.

    Raises:
        Fault: They may not, or it is no name.
    """
    name = asked.text(parameter)
    asked.caller.demand(f"ram:{action}", f"acs:ram:*:{asked.account}:{kind}/{name}")
    try:
        return fields.principal(name)
    except BadInput as error:
        raise invalid(parameter, str(error)) from error


async def read(asked: Asked, entity: str, work: Callable[[Connection], T]) -> T:
    """Return what `work` reads of an `entity` such as `User`.

    Raises:
        Fault: There is none.
    """
    try:
        return await asked.console.read(work)
    except NotFound as error:
        raise Fault(404, f"EntityNotExist.{entity}", f"The {entity} does not exist.") from error


async def changed(
    asked: Asked, entity: str, work: Callable[[Change], T], *, limit: str = "DeleteConflict"
) -> T:
    """Return what `work` changes of an `entity` such as `User`.

    Args:
        asked: The call.
        entity: What is changed, as error codes spell it.
        work: Changes it.
        limit: Code for a change that something else stands against.

    Raises:
        Fault: The change cannot be made.
    """
    try:
        return await asked.console.change(asked.author, work)
    except NotFound as error:
        raise Fault(404, f"EntityNotExist.{entity}", str(error)) from error
    except AlreadyExists as error:
        raise Fault(409, f"EntityAlreadyExists.{entity}", str(error)) from error
    except StillInUse as error:
        raise Fault(409, limit, str(error)) from error


def paged(
    asked: Asked, found: Sequence[T], name_of: Callable[[T], str]
) -> tuple[Sequence[T], dict[str, object]]:
    """Return a page of what was found, and what an answer says of further ones.

    A marker is the name of the last that was shown.
    """
    size = whole(asked.parameters, "MaxItems", default=DEFAULT_ITEMS, low=1, high=MAX_ITEMS)
    marker = asked.parameters.get("Marker", "")
    rest = [one for one in sorted(found, key=name_of) if name_of(one) > marker]
    shown = rest[:size]
    if len(rest) > size:
        return shown, {"IsTruncated": True, "Marker": name_of(shown[-1])}
    return shown, {"IsTruncated": False}


def _own_or_named(asked: Asked, action: str) -> str:
    """Return the user that a call is about: by the cloud's rule the caller, if it names none."""
    if asked.parameters.get("UserName"):
        return named(asked, "UserName", action, "user")
    if asked.caller.kind is not PrincipalKind.USER:
        return asked.text("UserName")  # which is the refusal
    asked.caller.demand(f"ram:{action}", asked.caller.arn.replace("::", ":*:", 1))
    return asked.caller.arn.rpartition("/")[2]


def _unattached(change: Change, account: str, kind: PrincipalKind, name: str, code: str) -> None:
    held = access.policies_of(change.connection, account, kind, name)
    if held:
        policies = ", ".join(policy.name for policy in held)
        raise Fault(409, code, f"{name} has policies ({policies}): detach them first.")


def document_of(asked: Asked, parameter: str, *, trust: bool) -> str:
    """Return a policy document that can be kept.

    Raises:
        Fault: There is none, or something is wrong with it.
    """
    text = asked.text(parameter)
    found = problems(text, trust=trust)
    if found:
        raise Fault(
            400, f"MalformedPolicyDocument.{parameter}", f"{found[0].where}: {found[0].message}."
        )
    return text


def _session_s(asked: Asked, parameter: str, default_s: int) -> int:
    return whole(
        asked.parameters, parameter, default=default_s, low=MIN_SESSION_S, high=MAX_SESSION_S
    )


def line_of(asked: Asked, parameter: str) -> str:
    """Return a line of free text, empty if there is none.

    Raises:
        Fault: It is no such line.
    """
    try:
        return fields.line(asked.parameters.get(parameter, ""))
    except BadInput as error:
        raise invalid(parameter, str(error)) from error


def _user(user: User) -> dict[str, object]:
    return {
        "UserId": user.id,
        "UserName": user.name,
        "Comments": user.comment,
        "CreateDate": stamp(user.created_at),
    }


def _key(key: AccessKey) -> dict[str, object]:
    return {
        "AccessKeyId": key.id,
        "Status": "Active" if key.active else "Inactive",
        "CreateDate": stamp(key.created_at),
    }


def _role(role: Role) -> dict[str, object]:
    return {
        "RoleId": role.id,
        "RoleName": role.name,
        "Arn": role.arn,
        "Description": role.comment,
        "AssumeRolePolicyDocument": role.trust,
        "MaxSessionDuration": role.max_session_s,
        "CreateDate": stamp(role.created_at),
    }
