"""Policies: one example per rule, then any documents."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shoal.core.console.documents import PERMISSIONS
from shoal.core.iam.policies import Decision, Request, decide, matches

INSTANCE = "acs:cr:cn-hangzhou:1234567890123456:instance/cri-a"
GET = Request("cr:GetInstanceVpcEndpoint", INSTANCE)


def _document(**statement: object) -> str:
    whole = {"Effect": "Allow", "Action": "*", "Resource": "*", **statement}
    return json.dumps({"Version": "1", "Statement": [whole]})


def test_the_documented_policy_allows_the_two_lookups_and_nothing_else() -> None:
    assert decide([PERMISSIONS], GET) is Decision.ALLOWED
    assert decide([PERMISSIONS], Request("cr:ListInstanceEndpoint", INSTANCE)) is Decision.ALLOWED
    assert decide([PERMISSIONS], Request("cr:DeleteInstance", INSTANCE)) is Decision.NOT_ALLOWED


def test_without_a_policy_nothing_is_allowed() -> None:
    assert decide([], GET) is Decision.NOT_ALLOWED


@pytest.mark.parametrize("order", [1, -1])
def test_a_deny_wins_over_an_allow_in_any_order(order: int) -> None:
    documents = [PERMISSIONS, _document(Effect="Deny", Action="cr:Get*")][::order]
    assert decide(documents, GET) is Decision.DENIED


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        ({"Action": "CR:getinstancevpcendpoint"}, Decision.ALLOWED),
        ({"Action": "cr:Get?nstance*"}, Decision.ALLOWED),
        ({"Action": []}, Decision.NOT_ALLOWED),
        ({"Action": 7}, Decision.NOT_ALLOWED),
        ({"Resource": "acs:cr:*:*:instance/cri-a"}, Decision.ALLOWED),
        ({"Resource": "acs:cr:*:*:instance/cri-b"}, Decision.NOT_ALLOWED),
        ({"Resource": INSTANCE.upper()}, Decision.NOT_ALLOWED),
        ({"Condition": {"NumericEquals": {"a": "1"}}}, Decision.NOT_ALLOWED),
        ({"Condition": []}, Decision.NOT_ALLOWED),
        ({"Condition": {"StringEquals": {"acs:x": "1"}}}, Decision.NOT_ALLOWED),
        ({"Condition": {"StringNotEquals": {"acs:x": "1"}}}, Decision.ALLOWED),
        ({"Effect": "Deny", "Condition": {"Unknown": {}}}, Decision.DENIED),
        ({"Effect": "allow"}, Decision.NOT_ALLOWED),
    ],
)
def test_a_statement_applies_only_as_far_as_it_is_understood(
    statement: dict[str, object], expected: Decision
) -> None:
    assert decide([_document(**statement)], GET) is expected


def test_all_but_the_named_actions_are_allowed_by_not_action() -> None:
    statement = {"Effect": "Allow", "NotAction": "cr:Delete*", "Resource": "*"}
    document = json.dumps({"Version": "1", "Statement": [statement]})
    assert decide([document], GET) is Decision.ALLOWED
    assert decide([document], Request("cr:DeleteInstance", INSTANCE)) is Decision.NOT_ALLOWED


@pytest.mark.parametrize(
    ("operator", "wanted", "has", "expected"),
    [
        ("StringEquals", ["a", "b"], ["b"], True),
        ("StringEquals", "A", ["a"], False),
        ("StringEqualsIgnoreCase", "A", ["a"], True),
        ("StringNotEqualsIgnoreCase", "A", ["a"], False),
        ("StringLike", "system:*:x", ["system:serviceaccount:x"], True),
        ("StringNotLike", "system:*", ["system:x"], False),
        ("StringEquals", [], ["a"], False),
    ],
)
def test_conditions_compare_as_their_operator_says(
    operator: str, wanted: object, has: list[str], expected: bool
) -> None:
    document = _document(Condition={operator: {"k": wanted}})
    allowed = decide([document], Request(GET.action, GET.resource, {"k": has}))
    assert (allowed is Decision.ALLOWED) is expected


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "{}", '{"Statement": 7}', '{"Statement": [1]}', "[" * 100_000]
)
def test_a_document_that_cannot_be_read_denies(text: str) -> None:
    assert decide([PERMISSIONS, text], GET) is Decision.DENIED


@given(st.text(alphabet="ab*?.", max_size=12), st.text(alphabet="ab.", max_size=12))
def test_patterns_match_as_a_plain_recursion_says(pattern: str, text: str) -> None:
    def plain(p: str, t: str) -> bool:
        if not p:
            return not t
        if p[0] == "*":
            return plain(p[1:], t) or (bool(t) and plain(p, t[1:]))
        return bool(t) and p[0] in ("?", t[0]) and plain(p[1:], t[1:])

    assert matches(pattern, text) is plain(pattern, text)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "Statement",
                    "Effect",
                    "Action",
                    "NotAction",
                    "Resource",
                    "Condition",
                    "StringEquals",
                    "k",
                ]
            ),
            inner | st.sampled_from(["Allow", "Deny", "*"]),
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(st.lists(_JSON, max_size=3))
def test_a_deny_beside_any_documents_denies(documents: list[object]) -> None:
    others = [json.dumps(one) for one in documents]
    assert decide([*others, _document(Effect="Deny")], GET) is Decision.DENIED
