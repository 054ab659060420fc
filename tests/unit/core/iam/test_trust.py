"""Trust policies: the documented one, each way to miss it, and Deny."""

import json

import pytest

from shoal.core.console.documents import SERVICE_ACCOUNTS, trust_document
from shoal.core.iam.policies import Decision
from shoal.core.iam.trust import Caller, may_assume

PROVIDER = "acs:ram::1234567890123456:oidc-provider/ack-rrsa-c1"
ISSUER = "https://oidc.example/c1"
TRUST = trust_document(provider_arn=PROVIDER, issuer=ISSUER)
CLAIMS = {
    "oidc:aud": ["sts.aliyuncs.com"],
    "oidc:iss": [ISSUER],
    "oidc:sub": [SERVICE_ACCOUNTS[0]],
}


@pytest.mark.parametrize("account", SERVICE_ACCOUNTS)
def test_the_documented_policy_trusts_both_service_accounts(account: str) -> None:
    caller = Caller("Federated", (PROVIDER,), {**CLAIMS, "oidc:sub": [account]})
    assert may_assume(TRUST, caller) is Decision.ALLOWED


@pytest.mark.parametrize("claim", sorted(CLAIMS))
def test_a_claim_that_differs_or_lacks_is_not_trusted(claim: str) -> None:
    for values in (["other"], []):
        caller = Caller("Federated", (PROVIDER,), {**CLAIMS, claim: values})
        assert may_assume(TRUST, caller) is Decision.NOT_ALLOWED


def test_another_provider_or_another_kind_of_caller_is_not_trusted() -> None:
    for caller in (Caller("Federated", ("other",), CLAIMS), Caller("RAM", (PROVIDER,), CLAIMS)):
        assert may_assume(TRUST, caller) is Decision.NOT_ALLOWED


def _trust(*statements: dict[str, object]) -> str:
    return json.dumps({"Version": "1", "Statement": list(statements)})


ALLOW: dict[str, object] = {
    "Effect": "Allow",
    "Action": "sts:AssumeRole",
    "Principal": {"RAM": ["acs:ram::1:role/a"]},
}


def test_a_role_is_trusted_by_its_name_or_by_its_account() -> None:
    assert may_assume(_trust(ALLOW), Caller("RAM", ("acs:ram::1:role/a",))) is Decision.ALLOWED
    assert may_assume(_trust(ALLOW), Caller("RAM", ("acs:ram::1:role/b",))) is Decision.NOT_ALLOWED


@pytest.mark.parametrize(
    "deny",
    [
        {**ALLOW, "Effect": "Deny"},
        {"Effect": "Deny", "Action": "*"},
        {**ALLOW, "Effect": "Deny", "Condition": {"Unknown": {"a": "b"}}},
    ],
)
def test_a_deny_wins_also_where_it_is_not_understood(deny: dict[str, object]) -> None:
    caller = Caller("RAM", ("acs:ram::1:role/a",))
    assert may_assume(_trust(ALLOW, deny), caller) is Decision.DENIED


def test_another_action_does_not_make_a_role_assumable() -> None:
    trust = _trust({**ALLOW, "Action": "sts:GetCallerIdentity"})
    assert may_assume(trust, Caller("RAM", ("acs:ram::1:role/a",))) is Decision.NOT_ALLOWED
