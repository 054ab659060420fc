"""RAM's policies: made, attached, taken away. A policy has one version, which is its default."""

from collections.abc import Mapping

from sqlalchemy import Connection

from shoal.control.api.actions import Action, Asked, invalid, stamp
from shoal.control.api.ram import changed, document_of, line_of, named, paged, read
from shoal.control.store import access
from shoal.control.store.changes import Change
from shoal.control.store.records import AlreadyExists
from shoal.core.console.models import Policy, PrincipalKind

ONLY_VERSION = "v1"
SYSTEM, CUSTOM = "System", "Custom"


async def create_policy(asked: Asked) -> dict[str, object]:
    """Add a policy."""
    name = named(asked, "PolicyName", "CreatePolicy", "policy")
    document = document_of(asked, "PolicyDocument", trust=False)
    comment = line_of(asked, "Description")

    def create(change: Change) -> Policy:
        if any(policy.name == name for policy in access.policies(change.connection, asked.account)):
            raise AlreadyExists(f"there is a policy {name} already")
        access.put_policy(change, asked.account, name, comment=comment, document=document)
        return access.policy(change.connection, asked.account, name)

    return {"Policy": _policy(await changed(asked, "Policy", create))}


async def get_policy(asked: Asked) -> dict[str, object]:
    """Describe a policy with its document."""
    name = named(asked, "PolicyName", "GetPolicy", "policy")
    kind = _kind(asked)
    policy = await read(
        asked, "Policy", lambda c: access.policy_of_kind(c, asked.account, name, system=kind)
    )
    counts = await asked.console.read(lambda c: access.counts(c, asked.account))
    return {
        "Policy": {**_policy(policy), "AttachmentCount": counts.get(name, 0)},
        "DefaultPolicyVersion": {
            "VersionId": ONLY_VERSION,
            "IsDefaultVersion": True,
            "PolicyDocument": policy.document,
            "CreateDate": stamp(policy.created_at),
        },
    }


async def list_policies(asked: Asked) -> dict[str, object]:
    """Describe all policies, a page of them."""
    asked.caller.demand("ram:ListPolicies", f"acs:ram:*:{asked.account}:policy/*")
    found = await asked.console.read(lambda c: access.policies(c, asked.account))
    if wanted := asked.parameters.get("PolicyType"):
        found = [one for one in found if _type(one) == wanted]
    counts = await asked.console.read(lambda c: access.counts(c, asked.account))
    shown, page = paged(asked, found, lambda policy: policy.name)
    policies = [{**_policy(one), "AttachmentCount": counts.get(one.name, 0)} for one in shown]
    return {"Policies": {"Policy": policies}, **page}


async def delete_policy(asked: Asked) -> dict[str, object]:
    """Delete a policy that nobody has."""
    name = named(asked, "PolicyName", "DeletePolicy", "policy")
    await changed(asked, "Policy", lambda change: access.remove_policy(change, asked.account, name))
    return {}


async def attach_to_user(asked: Asked) -> dict[str, object]:
    """Give a policy to a user."""
    return await _attach(asked, "AttachPolicyToUser", PrincipalKind.USER)


async def attach_to_role(asked: Asked) -> dict[str, object]:
    """Give a policy to a role."""
    return await _attach(asked, "AttachPolicyToRole", PrincipalKind.ROLE)


async def detach_from_user(asked: Asked) -> dict[str, object]:
    """Take a policy from a user."""
    return await _detach(asked, "DetachPolicyFromUser", PrincipalKind.USER)


async def detach_from_role(asked: Asked) -> dict[str, object]:
    """Take a policy from a role."""
    return await _detach(asked, "DetachPolicyFromRole", PrincipalKind.ROLE)


async def list_for_user(asked: Asked) -> dict[str, object]:
    """Describe the policies of a user."""
    return await _list_for(asked, "ListPoliciesForUser", PrincipalKind.USER)


async def list_for_role(asked: Asked) -> dict[str, object]:
    """Describe the policies of a role."""
    return await _list_for(asked, "ListPoliciesForRole", PrincipalKind.ROLE)


ACTIONS: Mapping[str, Action] = {
    "CreatePolicy": create_policy,
    "GetPolicy": get_policy,
    "ListPolicies": list_policies,
    "DeletePolicy": delete_policy,
    "AttachPolicyToUser": attach_to_user,
    "AttachPolicyToRole": attach_to_role,
    "DetachPolicyFromUser": detach_from_user,
    "DetachPolicyFromRole": detach_from_role,
    "ListPoliciesForUser": list_for_user,
    "ListPoliciesForRole": list_for_role,
}


async def _attach(asked: Asked, action: str, kind: PrincipalKind) -> dict[str, object]:
    holder, name, system = _holder(asked, action, kind), asked.text("PolicyName"), _kind(asked)

    def attach(change: Change) -> None:
        access.policy_of_kind(change.connection, asked.account, name, system=system)
        access.attach(change, asked.account, name, kind, holder)

    await changed(asked, "Policy", attach)
    return {}


async def _detach(asked: Asked, action: str, kind: PrincipalKind) -> dict[str, object]:
    holder, name, system = _holder(asked, action, kind), asked.text("PolicyName"), _kind(asked)

    def detach(change: Change) -> None:
        access.policy_of_kind(change.connection, asked.account, name, system=system)
        access.detach(change, asked.account, name, kind, holder)

    await changed(asked, "Policy", detach)
    return {}


async def _list_for(asked: Asked, action: str, kind: PrincipalKind) -> dict[str, object]:
    holder = _holder(asked, action, kind)

    def look(connection: Connection) -> list[Policy]:
        (access.user if kind is PrincipalKind.USER else access.role)(
            connection, asked.account, holder
        )
        return access.policies_of(connection, asked.account, kind, holder)

    entity = "User" if kind is PrincipalKind.USER else "Role"
    found = await read(asked, entity, look)
    return {"Policies": {"Policy": [_policy(policy) for policy in found]}}


def _holder(asked: Asked, action: str, kind: PrincipalKind) -> str:
    parameter = "UserName" if kind is PrincipalKind.USER else "RoleName"
    return named(asked, parameter, action, kind.value)


def _kind(asked: Asked) -> bool:
    """Return whether a call means a policy of the system."""
    kind = asked.text("PolicyType")
    if kind not in (SYSTEM, CUSTOM):
        raise invalid("PolicyType", f"{SYSTEM} or {CUSTOM}")
    return kind == SYSTEM


def _type(policy: Policy) -> str:
    return SYSTEM if policy.system else CUSTOM


def _policy(policy: Policy) -> dict[str, object]:
    return {
        "PolicyName": policy.name,
        "PolicyType": _type(policy),
        "Description": policy.comment,
        "DefaultVersion": ONLY_VERSION,
        "CreateDate": stamp(policy.created_at),
    }
