"""Permission policies: may this principal do this action on this resource?

Rule 1: a Deny that applies wins over every Allow; without an Allow that applies, the answer is no.
Rule 2: what is not understood never widens access. An unknown condition operator makes an Allow
apply to nothing and a Deny apply to everything; a document that cannot be read denies.
"""

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from functools import lru_cache

Context = Mapping[str, Sequence[str]]  # condition key -> the values that a request has for it


class Decision(Enum):
    """What policies say of a request."""

    ALLOWED = "allowed"
    NOT_ALLOWED = "ImplicitDeny"  # spelled as AccessDeniedDetail.NoPermissionType
    DENIED = "ExplicitDeny"


@dataclass(frozen=True, slots=True)
class Request:
    """What somebody wants to do.

    `action` is such as `cr:GetInstance`, `resource` such as
    `acs:cr:cn-hangzhou:1234:instance/cri-x`.
    """

    action: str
    resource: str
    context: Context = field(default_factory=dict)


def decide(documents: Iterable[str], request: Request) -> Decision:
    """Return what all policies of a principal together say."""
    decision = Decision.NOT_ALLOWED
    for document in documents:
        for statement in statements(document):
            effect = statement.get("Effect")
            if effect == "Deny" and _applies(statement, request, unknown=True):
                return Decision.DENIED
            if effect == "Allow" and _applies(statement, request, unknown=False):
                decision = Decision.ALLOWED
    return decision


@lru_cache(maxsize=1024)
def statements(document: str) -> tuple[Mapping[str, object], ...]:
    """Return the statements of a document; one that denies everything if it cannot be read."""
    try:
        read = json.loads(document)
    except (ValueError, RecursionError):
        return (_DENY_ALL,)
    found = read.get("Statement") if isinstance(read, dict) else None
    found = [found] if isinstance(found, dict) else found
    if not isinstance(found, list) or not all(isinstance(part, dict) for part in found):
        return (_DENY_ALL,)
    return tuple(found)


_DENY_ALL: Mapping[str, object] = {"Effect": "Deny", "Action": "*", "Resource": "*"}


def conditions_hold(condition: object, context: Context, *, unknown: bool) -> bool:
    """Return whether every condition of a statement holds.

    Args:
        condition: The statement's `Condition`.
        context: What the request has.
        unknown: The answer for an operator that is not known here.
    """
    if condition is None:
        return True
    if not isinstance(condition, dict):
        return unknown
    return all(
        isinstance(tests, dict)
        and all(
            _test_holds(operator, texts(wanted), context.get(key, ()), unknown=unknown)
            for key, wanted in tests.items()
        )
        if operator in _OPERATORS
        else unknown
        for operator, tests in condition.items()
    )


def matches(pattern: str, text: str) -> bool:
    """Return whether `pattern`, in which * and ? stand for anything, is all of `text`."""
    return _compiled(pattern).fullmatch(text) is not None


def texts(value: object) -> tuple[str, ...]:
    """Return a text, or a list of texts, as a tuple; empty for anything else."""
    if isinstance(value, str):
        return (value,)
    if isinstance(value, list) and all(isinstance(part, str) for part in value):
        return tuple(value)
    return ()


# Operator -> (comparison of a wanted value with one that the request has, whether it is negated).
_OPERATORS: Mapping[str, tuple[Callable[[str, str], bool], bool]] = {
    "StringEquals": (lambda wanted, has: wanted == has, False),
    "StringNotEquals": (lambda wanted, has: wanted == has, True),
    "StringEqualsIgnoreCase": (lambda wanted, has: wanted.lower() == has.lower(), False),
    "StringNotEqualsIgnoreCase": (lambda wanted, has: wanted.lower() == has.lower(), True),
    "StringLike": (matches, False),
    "StringNotLike": (matches, True),
}


def _test_holds(operator: str, wanted: Sequence[str], has: Sequence[str], *, unknown: bool) -> bool:
    if not wanted:
        return unknown
    compare, negated = _OPERATORS[operator]
    return any(compare(one, other) for one in wanted for other in has) is not negated


def _applies(statement: Mapping[str, object], request: Request, *, unknown: bool) -> bool:
    return (
        _names(statement, "Action", request.action, unknown=unknown, fold=True)
        and _names(statement, "Resource", request.resource, unknown=unknown, fold=False)
        and conditions_hold(statement.get("Condition"), request.context, unknown=unknown)
    )


def _names(
    statement: Mapping[str, object], key: str, text: str, *, unknown: bool, fold: bool
) -> bool:
    negated = key not in statement and f"Not{key}" in statement
    patterns = texts(statement.get(f"Not{key}" if negated else key))
    if not patterns:
        return unknown
    if fold:  # actions are compared without regard to case
        patterns, text = tuple(one.lower() for one in patterns), text.lower()
    return any(matches(pattern, text) for pattern in patterns) is not negated


@lru_cache(maxsize=4096)
def _compiled(pattern: str) -> re.Pattern[str]:
    # Runs of * are one: `***…` would otherwise take time that grows with every star.
    parts = re.split(r"(\*+|\?)", pattern)
    return re.compile(
        "".join(
            ".*" if part.startswith("*") else "." if part == "?" else re.escape(part)
            for part in parts
        ),
        re.DOTALL,
    )
