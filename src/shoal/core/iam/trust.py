"""Trust policies: may this caller assume this role?

A trust policy is part of the role, so it has no Resource. The cloud spells its action
`sts:AssumeRole` also where the call is AssumeRoleWithOIDC.
"""

from dataclasses import dataclass, field

from shoal.core.iam.policies import Context, Decision, conditions_hold, matches, statements, texts

_ACTION = "sts:assumerole"


@dataclass(frozen=True, slots=True)
class Caller:
    """Who wants to assume a role: `principals` are the ARNs by which a document may name them."""

    kind: str  # RAM, Federated or Service: the key of Principal
    principals: tuple[str, ...]
    context: Context = field(default_factory=dict)


def may_assume(trust: str, caller: Caller) -> Decision:
    """Return whether a role with the trust policy `trust` may be assumed by `caller`."""
    decision = Decision.NOT_ALLOWED
    for statement in statements(trust):
        denies = statement.get("Effect") == "Deny"
        if not any(matches(one.lower(), _ACTION) for one in texts(statement.get("Action"))):
            continue
        principal = statement.get("Principal")
        named = texts(principal.get(caller.kind)) if isinstance(principal, dict) else ()
        # A Deny without a principal that can be read denies everybody.
        everybody = denies and not isinstance(principal, dict)
        if not (everybody or "*" in named or set(named) & set(caller.principals)):
            continue
        if not conditions_hold(statement.get("Condition"), caller.context, unknown=denies):
            continue
        if denies:
            return Decision.DENIED
        if statement.get("Effect") == "Allow":
            decision = Decision.ALLOWED
    return decision
