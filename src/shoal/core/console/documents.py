"""Policy documents as text: what is wrong with one, told while it is being typed.

This is about form alone. Who may do what by a document is decided elsewhere.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

MAX_CHARS = 6144  # Source: the cloud's limit for a custom policy

# What the component needs, and nothing else. Source: the component's documentation.
NEEDED_ACTIONS = ("cr:GetInstanceVpcEndpoint", "cr:ListInstanceEndpoint")
PERMISSIONS = json.dumps(
    {
        "Version": "1",
        "Statement": [{"Effect": "Allow", "Action": list(NEEDED_ACTIONS), "Resource": "*"}],
    },
    indent=2,
)
SERVICE_ACCOUNTS = (
    "system:serviceaccount:aliyun-acr-acceleration:ack-acr-acceleration-p2p-job-sa",
    "system:serviceaccount:aliyun-acr-acceleration:ack-acr-acceleration-p2p-sa",
)
_ACTION = re.compile(r"\*|[a-z0-9]+:[A-Za-z0-9*?]+", re.ASCII)
_KEYS = {"Effect", "Action", "NotAction", "Resource", "NotResource", "Condition", "Principal"}


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong, and where: a line of the text or a place such as `Statement 2`."""

    where: str
    message: str


def trust_document(*, provider_arn: str, issuer: str) -> str:
    """Return the trust policy for the component's service accounts."""
    return json.dumps(
        {
            "Version": "1",
            "Statement": [
                {
                    "Action": "sts:AssumeRole",
                    "Condition": {
                        "StringEquals": {
                            "oidc:aud": ["sts.aliyuncs.com"],
                            "oidc:iss": issuer,
                            "oidc:sub": list(SERVICE_ACCOUNTS),
                        }
                    },
                    "Effect": "Allow",
                    "Principal": {"Federated": [provider_arn]},
                }
            ],
        },
        indent=2,
    )


def problems(text: str, *, trust: bool) -> tuple[Problem, ...]:
    """Return what is wrong with a document; nothing if it can be kept.

    Args:
        text: The document.
        trust: Whether it says who may assume a role, instead of what its holder may do.
    """
    if len(text) > MAX_CHARS:
        return (Problem("document", f"longer than {MAX_CHARS} characters"),)
    try:
        document = json.loads(text)
    except json.JSONDecodeError as error:
        return (Problem(f"line {error.lineno}, column {error.colno}", f"not JSON: {error.msg}"),)
    except RecursionError:
        return (Problem("document", "nested too deeply"),)
    return tuple(_of_document(document, trust=trust))


def _of_document(document: object, *, trust: bool) -> Iterator[Problem]:
    if not isinstance(document, dict):
        yield Problem("document", "has to be an object: { … }")
        return
    if document.get("Version") != "1":
        yield Problem("Version", 'has to be "1"')
    for key in sorted(map(str, document.keys() - {"Version", "Statement"})):
        yield Problem(key, "is not a part of a policy document")
    statements = document.get("Statement")
    if not isinstance(statements, list) or not statements:
        yield Problem("Statement", "has to be a list with at least one statement")
        return
    for number, statement in enumerate(statements, start=1):
        where = f"Statement {number}"
        if not isinstance(statement, dict):
            yield Problem(where, "has to be an object: { … }")
            continue
        yield from _of_statement(statement, where, trust=trust)


def _of_statement(statement: Mapping[str, object], where: str, *, trust: bool) -> Iterator[Problem]:
    if statement.get("Effect") not in ("Allow", "Deny"):
        yield Problem(f"{where}, Effect", 'has to be "Allow" or "Deny"')
    for key in sorted(map(str, statement.keys() - _KEYS)):
        yield Problem(f"{where}, {key}", "is not a part of a statement")
    named = "Action" if "Action" in statement or trust else "NotAction"
    actions = _texts(statement.get(named))
    if actions is None:
        yield Problem(f"{where}, Action", "is missing: a text or a list of texts")
    for action in actions or ():
        if not _ACTION.fullmatch(action):
            yield Problem(f"{where}, {named}", f"{action!r} is not like cr:GetInstance or cr:*")
    if trust:
        yield from _of_trust(statement, actions or (), where)
    else:
        if _texts(statement.get("Resource", statement.get("NotResource"))) is None:
            yield Problem(f"{where}, Resource", 'is missing: "*", or acs:cr:region:account:…')
        if "Principal" in statement:
            yield Problem(f"{where}, Principal", "belongs into a role's trust policy")
    condition = statement.get("Condition", {})
    if not isinstance(condition, dict) or not all(
        isinstance(part, dict) for part in condition.values()
    ):
        yield Problem(f"{where}, Condition", 'is like { "StringEquals": { "oidc:aud": "…" } }')


def _of_trust(
    statement: Mapping[str, object], actions: tuple[str, ...], where: str
) -> Iterator[Problem]:
    principal = statement.get("Principal")
    if not isinstance(principal, dict) or not principal.keys() & {"RAM", "Federated", "Service"}:
        yield Problem(f"{where}, Principal", "has to name RAM, Federated or Service")
    if "sts:AssumeRole" not in actions and "sts:*" not in actions and "*" not in actions:
        yield Problem(f"{where}, Action", "has to hold sts:AssumeRole, also for OIDC")
    if "Resource" in statement:
        yield Problem(f"{where}, Resource", "has no place in a trust policy")


def _texts(value: object) -> tuple[str, ...] | None:
    if isinstance(value, str) and value:
        return (value,)
    if isinstance(value, list) and value and all(isinstance(part, str) for part in value):
        return tuple(value)
    return None
