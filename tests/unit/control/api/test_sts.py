"""STS, called by the cloud's own SDK: roles by key, by OIDC, and one role after another."""

import asyncio
from typing import Any

import pytest
from alibabacloud_cr20181201 import models as registry
from alibabacloud_sts20150401 import models

from unit.control.api.served_cloud import REMOTE, Cloud, id_token, refused


def _oidc(cloud: Cloud, token: str, **others: object) -> Any:
    given = {
        "oidcprovider_arn": cloud.provider,
        "oidctoken": token,
        "role_arn": cloud.arn("cluster"),
        "role_session_name": "p2p",
        **others,
    }
    return models.AssumeRoleWithOIDCRequest(**given)


def _role(arn: str, **others: object) -> Any:
    return models.AssumeRoleRequest(role_arn=arn, role_session_name="p2p", **others)


async def test_who_calls_is_told(cloud: Cloud) -> None:
    body = (await asyncio.to_thread(cloud.sts().get_caller_identity)).body
    assert body.arn == f"acs:ram::{cloud.account}:user/reader"
    assert (body.account_id, body.identity_type) == (cloud.account, "RAMUser")


async def test_one_role_after_another_leads_from_a_pods_token_to_the_registry(
    cloud: Cloud,
) -> None:
    token = id_token(cloud.console.now_s)
    first = (await asyncio.to_thread(cloud.sts().assume_role_with_oidc, _oidc(cloud, token))).body
    assert first.oidctoken_info.issuer == "https://oidc.example/c1"
    cloud.keys["a"] = (first.credentials.access_key_id, first.credentials.access_key_secret)
    sts = cloud.sts("a", token=first.credentials.security_token)
    ask = _role(cloud.arn("registry"), duration_seconds=43_200)
    second = (await asyncio.to_thread(sts.assume_role, ask)).body.credentials
    cloud.keys["b"] = (second.access_key_id, second.access_key_secret)
    for version in ("", "v2"):
        client = cloud.registry("b", token=second.security_token, version=version)
        look = registry.GetInstanceVpcEndpointRequest(instance_id=REMOTE)
        assert (await asyncio.to_thread(client.get_instance_vpc_endpoint, look)).body.is_success
    identity = (
        await asyncio.to_thread(cloud.sts("b", token=second.security_token).get_caller_identity)
    ).body
    assert identity.arn == f"{cloud.arn('registry')}/p2p"


@pytest.mark.parametrize(
    ("claims", "code"),
    [
        ({"exp": 1}, "AuthenticationFail.OIDCToken.Expired"),
        ({"aud": "other"}, "AuthenticationFail.OIDCToken.AudienceNotMatch"),
        ({"iss": "https://other"}, "AuthenticationFail.OIDCToken.IssuerNotMatch"),
        ({"sub": "system:serviceaccount:x:y"}, "AuthenticationFail.NoPermission"),
    ],
)
async def test_a_token_that_the_documentation_does_not_mean_is_refused(
    cloud: Cloud, claims: dict[str, Any], code: str
) -> None:
    token = id_token(cloud.console.now_s, **claims)
    error = await refused(cloud.sts().assume_role_with_oidc, _oidc(cloud, token))
    assert (error.code, error.status_code) == (code, 401)


async def test_a_provider_or_role_that_is_not_there_is_refused(cloud: Cloud) -> None:
    token = id_token(cloud.console.now_s)
    for others, code in (
        ({"oidcprovider_arn": f"{cloud.provider}x"}, "AuthenticationFail.NoPermission"),
        ({"oidcprovider_arn": "x"}, "InvalidParameter.OIDCProviderArn"),
        ({"role_arn": cloud.arn("none")}, "EntityNotExist.Role"),
        ({"role_arn": "acs:ram::1:role/cluster"}, "EntityNotExist.Role"),
        ({"role_arn": "x"}, "InvalidParameter.RoleArn"),
        ({"role_session_name": "x"}, "InvalidParameter.RoleSessionName"),
        ({"policy": "{"}, "InvalidParameter.Policy"),
    ):
        error = await refused(cloud.sts().assume_role_with_oidc, _oidc(cloud, token, **others))
        assert error.code == code, others


async def test_a_session_is_no_longer_than_the_role_allows(cloud: Cloud) -> None:
    token = id_token(cloud.console.now_s)
    for seconds in (899, 3601):
        ask = _oidc(cloud, token, duration_seconds=seconds)
        error = await refused(cloud.sts().assume_role_with_oidc, ask)
        assert error.code == "InvalidParameter.DurationSeconds"
        assert "900 to 3600" in str(error)


async def test_a_role_is_assumed_only_by_whom_it_trusts_and_who_may(cloud: Cloud) -> None:
    ask = _role(cloud.arn("cluster"))
    assert (await refused(cloud.sts("reader").assume_role, ask)).code == "NoPermission"
    ask = _role(cloud.arn("registry"))
    assert (await refused(cloud.sts("nobody").assume_role, ask)).code == "NoPermission"
    assert (await asyncio.to_thread(cloud.sts("reader").assume_role, ask)).status_code == 200


async def test_a_sessions_own_policy_narrows_what_its_role_may(cloud: Cloud) -> None:
    narrow = '{"Version":"1","Statement":[{"Effect":"Allow","Action":"cr:List*","Resource":"*"}]}'
    ask = _role(cloud.arn("registry"), policy=narrow)
    made = (await asyncio.to_thread(cloud.sts().assume_role, ask)).body.credentials
    cloud.keys["n"] = (made.access_key_id, made.access_key_secret)
    client = cloud.registry("n", token=made.security_token)
    look = registry.ListInstanceEndpointRequest(instance_id=REMOTE)
    assert (await asyncio.to_thread(client.list_instance_endpoint, look)).body.is_success
    other = registry.GetInstanceVpcEndpointRequest(instance_id=REMOTE)
    assert (await refused(client.get_instance_vpc_endpoint, other)).code == "NoPermission"
