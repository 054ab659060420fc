"""The page's policy documents, and what a document that somebody wrote lacks."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shoal.core.cloud.policies import (
    assume_document,
    lacking_permissions,
    lacking_trust,
    lacking_trust_in_role,
    permissions_document,
    trust_document,
    trusting_role_document,
)

PROVIDER = "acs:ram::1234:oidc-provider/ack-rrsa-c1"
ISSUER = "https://oidc.example/c1"
ROLE = "acs:ram::1234:role/edge"


def test_what_is_printed_lacks_nothing() -> None:
    assert lacking_permissions(permissions_document()) == ()
    both = permissions_document(edition=True)
    assert lacking_permissions(both, actions=["cr:GetInstance"]) == ()
    trust = trust_document(provider_arn=PROVIDER, issuer=ISSUER)
    assert lacking_trust(trust, provider_arn=PROVIDER, issuer=ISSUER) == ()
    assert lacking_trust_in_role(trusting_role_document(ROLE), role_arn=ROLE) == ()
    other = "acs:ram::99:role/acr"
    assert (
        lacking_permissions(assume_document(other), actions=["sts:AssumeRole"], resource=other)
        == ()
    )


def test_the_documentations_policy_does_not_tell_the_edition() -> None:
    lacks = lacking_permissions(permissions_document(), actions=["cr:GetInstance"])
    assert [one.message for one in lacks] == ["cr:GetInstance is not allowed on *"]


@pytest.mark.parametrize(
    ("statement", "lacking"),
    [
        ({"Effect": "Allow", "Action": "cr:*", "Resource": "*"}, []),
        (
            {"Effect": "Allow", "Action": ["cr:List*"], "Resource": "*"},
            ["cr:GetInstanceVpcEndpoint"],
        ),
        (
            {"Effect": "Deny", "Action": "*", "Resource": "*"},
            ["cr:GetInstanceVpcEndpoint", "cr:ListInstanceEndpoint"],
        ),
        (
            {"Effect": "Allow", "Action": "cr:*", "Resource": "acs:cr:*:*:instance/cri-other"},
            ["cr:GetInstanceVpcEndpoint", "cr:ListInstanceEndpoint"],
        ),
    ],
)
def test_a_policy_is_judged_by_what_it_comes_to(
    statement: dict[str, object], lacking: list[str]
) -> None:
    document = json.dumps({"Version": "1", "Statement": [statement]})
    assert [one.wanted for one in lacking_permissions(document)] == lacking


def test_a_trust_policy_lacks_the_account_that_it_does_not_name() -> None:
    document = trust_document(provider_arn=PROVIDER, issuer=ISSUER).replace("-job-sa", "-jobs-sa")
    lacks = lacking_trust(document, provider_arn=PROVIDER, issuer=ISSUER)
    assert [one.wanted.rpartition(":")[2] for one in lacks] == ["ack-acr-acceleration-p2p-job-sa"]
    assert len(lacking_trust(document, provider_arn=PROVIDER, issuer="https://other")) == 2


def test_a_whole_account_may_be_trusted() -> None:
    document = trusting_role_document("acs:ram::1234:root")
    assert lacking_trust_in_role(document, role_arn=ROLE) == ()
    other = trusting_role_document("acs:ram::1:root")
    assert [one.wanted for one in lacking_trust_in_role(other, role_arn=ROLE)] == [ROLE]


@given(st.text(max_size=300))
def test_any_text_is_judged_and_nothing_is_allowed_by_nonsense(text: str) -> None:
    assert lacking_permissions(text)
    assert lacking_trust(text, provider_arn=PROVIDER, issuer=ISSUER)
