"""The policy documents of the component's documentation, filled in, and what a given one lacks.

A document is judged as the cloud would decide by it, so it may be spelled in any way that comes to
the same.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from shoal.core.console.documents import (
    NEEDED_ACTIONS,
    PERMISSIONS,
    SERVICE_ACCOUNTS,
    problems,
    trust_document,
)
from shoal.core.console.models import account_of, root_arn
from shoal.core.iam.policies import Decision, Request, decide
from shoal.core.iam.trust import Caller, may_assume

__all__ = [
    "AUDIENCE",
    "EDITION_ACTION",
    "NEEDED_ACTIONS",
    "assume_document",
    "lacking_permissions",
    "lacking_trust",
    "lacking_trust_in_role",
    "permissions_document",
    "trust_document",
    "trusting_role_document",
]

AUDIENCE = "sts.aliyuncs.com"
# The documentation's policy is without it. With it, an edition that is too low is told apart.
EDITION_ACTION = "cr:GetInstance"


@dataclass(frozen=True, slots=True)
class Lack:
    """Something that a document does not do; `wanted` is the action or account it is about."""

    wanted: str
    message: str


def permissions_document(*, edition: bool = False) -> str:
    """Return the policy that the component's user or role needs.

    Args:
        edition: whether to add what the documentation leaves out, see EDITION_ACTION.
    """
    if not edition:
        return PERMISSIONS
    actions = [EDITION_ACTION, *NEEDED_ACTIONS]
    return _dumped({"Effect": "Allow", "Action": actions, "Resource": "*"})


def assume_document(role_arn: str) -> str:
    """Return the policy that lets a role assume `role_arn`, and no other role.

    The documentation attaches AliyunSTSAssumeRoleAccess, which is the same for all roles.
    """
    return _dumped({"Effect": "Allow", "Action": "sts:AssumeRole", "Resource": role_arn})


def trusting_role_document(role_arn: str) -> str:
    """Return the trust policy of a role that another account's role may assume."""
    return _dumped(
        {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"RAM": [role_arn]}}
    )


def lacking_permissions(
    document: str, *, resource: str = "*", actions: Sequence[str] = NEEDED_ACTIONS
) -> tuple[Lack, ...]:
    """Return which of `actions` a permission policy does not allow on `resource`."""
    return tuple(_of_form(document, trust=False)) or tuple(
        Lack(action, f"{action} is {_refusal(decision)} on {resource}")
        for action in actions
        if (decision := decide([document], Request(action, resource))) is not Decision.ALLOWED
    )


def lacking_trust(document: str, *, provider_arn: str, issuer: str) -> tuple[Lack, ...]:
    """Return which of the component's service accounts a trust policy does not accept."""
    return tuple(_of_form(document, trust=True)) or tuple(
        Lack(account, f"{account} is not accepted through {provider_arn} with issuer {issuer}")
        for account in SERVICE_ACCOUNTS
        if may_assume(
            document,
            Caller(
                "Federated",
                (provider_arn,),
                {"oidc:aud": [AUDIENCE], "oidc:iss": [issuer], "oidc:sub": [account]},
            ),
        )
        is not Decision.ALLOWED
    )


def lacking_trust_in_role(document: str, *, role_arn: str) -> tuple[Lack, ...]:
    """Return what keeps `role_arn` from assuming the role that has this trust policy."""
    caller = Caller("RAM", (role_arn, root_arn(account_of(role_arn))))
    return tuple(_of_form(document, trust=True)) or (
        ()
        if may_assume(document, caller) is Decision.ALLOWED
        else (Lack(role_arn, f"{role_arn} is not accepted"),)
    )


def _of_form(document: str, *, trust: bool) -> Iterator[Lack]:
    for problem in problems(document, trust=trust):
        yield Lack(problem.where, f"{problem.where}: {problem.message}")


def _refusal(decision: Decision) -> str:
    return "denied" if decision is Decision.DENIED else "not allowed"


def _dumped(statement: dict[str, object]) -> str:
    return json.dumps({"Version": "1", "Statement": [statement]}, indent=2)
