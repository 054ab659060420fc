"""Policy documents: what is wrong with one, and where."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shoal.core.console.documents import MAX_CHARS, PERMISSIONS, problems, trust_document

TRUST = trust_document(provider_arn="acs:ram::1:oidc-provider/x", issuer="https://issuer")
STATEMENT: dict[str, Any] = {"Effect": "Allow", "Action": "cr:Get*", "Resource": "*"}


def _told(statement: object, *, trust: bool = False) -> list[str]:
    document = json.dumps({"Version": "1", "Statement": [statement]})
    return [one.where for one in problems(document, trust=trust)]


def test_the_documentations_own_documents_are_well_formed() -> None:
    assert problems(PERMISSIONS, trust=False) == ()
    assert problems(TRUST, trust=True) == ()


def test_a_mistake_in_json_is_told_by_line_and_column() -> None:
    (problem,) = problems('{\n  "Version": 1,,\n}', trust=False)
    assert problem.where == "line 2, column 16"


@pytest.mark.parametrize(
    ("change", "where"),
    [
        ({"Effect": "allow"}, "Statement 1, Effect"),
        ({"Action": []}, "Statement 1, Action"),
        ({"Action": "GetInstance"}, "Statement 1, Action"),
        ({"Action": [1]}, "Statement 1, Action"),
        ({"Resource": None}, "Statement 1, Resource"),
        ({"Condition": "x"}, "Statement 1, Condition"),
        ({"Condition": {"StringEquals": 1}}, "Statement 1, Condition"),
        ({"Principal": {}}, "Statement 1, Principal"),
        ({"Efect": "Allow"}, "Statement 1, Efect"),
    ],
)
def test_a_wrong_part_of_a_statement_is_named(change: dict[str, Any], where: str) -> None:
    assert _told(STATEMENT | change) == [where]


def test_a_trust_policy_names_who_and_the_action_that_the_cloud_wants() -> None:
    good = {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"RAM": ["x"]}}
    assert _told(good, trust=True) == []
    assert _told(good | {"Principal": {"Nobody": []}}, trust=True) == ["Statement 1, Principal"]
    oidc = good | {"Action": "sts:AssumeRoleWithOIDC"}
    assert _told(oidc, trust=True) == ["Statement 1, Action"]
    assert _told(good | {"Resource": "*"}, trust=True) == ["Statement 1, Resource"]


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("[]", "document"),
        ("[" * 5000, "document"),
        ("x" * (MAX_CHARS + 1), "document"),
        ('{"Version": "2", "Statement": [{}]}', "Version"),
        ('{"Version": "1"}', "Statement"),
        ('{"Version": "1", "Statement": [1]}', "Statement 1"),
        ('{"Version": "1", "Statement": [], "Id": 1}', "Id"),
    ],
)
def test_what_is_no_document_is_told(text: str, where: str) -> None:
    assert problems(text, trust=False)[0].where == where


@given(
    document=st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["Version", "Statement", "Effect", "Action", "Principal", "x"]),
                inner,
                max_size=4,
            )
        ),
    ),
    trust=st.booleans(),
)
def test_no_json_breaks_the_check(document: object, trust: bool) -> None:
    problems(json.dumps(document), trust=trust)
