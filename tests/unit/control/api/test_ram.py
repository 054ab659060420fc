"""RAM's users, keys and roles, by RAM's own SDK."""

import asyncio
import json
from typing import Any

import pytest
from alibabacloud_ram20150501 import models
from alibabacloud_ram20150501.client import Client
from alibabacloud_sts20150401 import models as sts

from shoal.control.store import access
from shoal.core.console.models import PrincipalKind
from unit.control.api.served_cloud import Cloud, refused


def trust_of(arn: str) -> str:
    """Return a trust policy for one RAM principal."""
    statement = {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"RAM": [arn]}}
    return json.dumps({"Version": "1", "Statement": [statement]})


async def ram(cloud: Cloud, user: str = "owner") -> Any:
    """Return RAM's own client for a user who may do everything there."""
    await cloud.change(
        lambda change: access.attach(
            change, cloud.account, "AliyunRAMFullAccess", PrincipalKind.USER, "owner"
        )
    )
    return Client(cloud.config(cloud.keys[user]))


async def _do(call: Any, *arguments: object) -> Any:
    return (await asyncio.to_thread(call, *arguments)).body


async def test_a_user_is_made_described_listed_and_deleted(cloud: Cloud) -> None:
    client = await ram(cloud)
    made = await _do(
        client.create_user, models.CreateUserRequest(user_name="edge", comments="of the edge")
    )
    assert (made.user.user_name, made.user.comments) == ("edge", "of the edge")
    again = models.CreateUserRequest(user_name="edge")
    assert (await refused(client.create_user, again)).code == "EntityAlreadyExists.User"
    found = await _do(client.get_user, models.GetUserRequest(user_name="edge"))
    assert found.user.user_id == made.user.user_id
    await _do(client.delete_user, models.DeleteUserRequest(user_name="edge"))
    gone = await refused(client.get_user, models.GetUserRequest(user_name="edge"))
    assert (gone.code, gone.status_code) == ("EntityNotExist.User", 404)


async def test_lists_come_in_pages(cloud: Cloud) -> None:
    client = await ram(cloud)
    names, marker = [], None
    for _ in range(10):
        page = await _do(client.list_users, models.ListUsersRequest(max_items=2, marker=marker))
        names += [user.user_name for user in page.users.user]
        if not page.is_truncated:
            break
        marker = page.marker
    assert names == ["nobody", "owner", "reader"]


async def test_a_new_key_signs_until_it_is_switched_off_or_deleted(cloud: Cloud) -> None:
    client = await ram(cloud)
    key = (
        await _do(client.create_access_key, models.CreateAccessKeyRequest(user_name="nobody"))
    ).access_key
    cloud.keys["new"] = (key.access_key_id, key.access_key_secret)
    identity = await _do(cloud.sts("new").get_caller_identity)
    assert identity.arn.endswith("user/nobody")
    third = models.CreateAccessKeyRequest(user_name="nobody")
    assert (await refused(client.create_access_key, third)).code == "LimitExceeded.User.AccessKey"
    await _do(
        client.update_access_key,
        models.UpdateAccessKeyRequest(
            user_name="nobody", user_access_key_id=key.access_key_id, status="Inactive"
        ),
    )
    assert (
        await refused(cloud.sts("new").get_caller_identity)
    ).code == "InvalidAccessKeyId.Inactive"
    listed = await _do(client.list_access_keys, models.ListAccessKeysRequest(user_name="nobody"))
    assert sorted(one.status for one in listed.access_keys.access_key) == ["Active", "Inactive"]
    delete = models.DeleteAccessKeyRequest(user_name="nobody", user_access_key_id=key.access_key_id)
    await _do(client.delete_access_key, delete)
    error = await refused(client.delete_access_key, delete)
    assert error.code == "EntityNotExist.User.AccessKey"


async def test_a_user_without_a_name_in_the_call_is_the_caller(cloud: Cloud) -> None:
    client = await ram(cloud)
    listed = await _do(client.list_access_keys, models.ListAccessKeysRequest())
    assert [one.access_key_id for one in listed.access_keys.access_key] == [cloud.keys["owner"][0]]


async def test_a_user_that_has_something_is_not_deleted(cloud: Cloud) -> None:
    client = await ram(cloud)
    ask = models.DeleteUserRequest(user_name="reader")
    assert (await refused(client.delete_user, ask)).code == "DeleteConflict.User.AccessKey"
    key_id = cloud.keys["reader"][0]
    await cloud.change(lambda change: access.remove_key(change, cloud.account, "reader", key_id))
    error = await refused(client.delete_user, ask)
    assert error.code == "DeleteConflict.User.Policy"
    assert "AliyunSTSAssumeRoleAccess" in str(error)


async def test_a_role_is_assumed_for_as_long_as_it_says(cloud: Cloud) -> None:
    client = await ram(cloud)
    reader = f"acs:ram::{cloud.account}:user/reader"
    made = await _do(
        client.create_role,
        models.CreateRoleRequest(
            role_name="long",
            assume_role_policy_document=trust_of(reader),
            max_session_duration=3600,
            description="first",
        ),
    )
    assert made.role.arn == cloud.arn("long")
    ask = sts.AssumeRoleRequest(
        role_arn=cloud.arn("long"), role_session_name="p2p", duration_seconds=7200
    )
    error = await refused(cloud.sts("reader").assume_role, ask)
    assert error.code == "InvalidParameter.DurationSeconds"
    updated = await _do(
        client.update_role,
        models.UpdateRoleRequest(role_name="long", new_max_session_duration=7200),
    )
    assert (updated.role.max_session_duration, updated.role.description) == (7200, "first")
    await _do(cloud.sts("reader").assume_role, ask)
    shown = (await _do(client.get_role, models.GetRoleRequest(role_name="long"))).role
    assert json.loads(shown.assume_role_policy_document) == json.loads(trust_of(reader))
    roles = (await _do(client.list_roles, models.ListRolesRequest())).roles.role
    assert "long" in [role.role_name for role in roles]
    await _do(client.delete_role, models.DeleteRoleRequest(role_name="long"))
    assert (await refused(cloud.sts("reader").assume_role, ask)).code == "EntityNotExist.Role"


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"role_name": "no name"}, "InvalidParameter.RoleName"),
        (
            {"assume_role_policy_document": "{"},
            "MalformedPolicyDocument.AssumeRolePolicyDocument",
        ),
        ({"max_session_duration": 60}, "InvalidParameter.MaxSessionDuration"),
        ({"description": "x" * 300}, "InvalidParameter.Description"),
        ({"role_name": "cluster"}, "EntityAlreadyExists.Role"),
    ],
)
async def test_a_role_that_cannot_be_is_refused(
    cloud: Cloud, changes: dict[str, Any], code: str
) -> None:
    client = await ram(cloud)
    given = {
        "role_name": "new",
        "assume_role_policy_document": trust_of("acs:ram::1:root"),
        **changes,
    }
    assert (await refused(client.create_role, models.CreateRoleRequest(**given))).code == code


async def test_only_who_may_does(cloud: Cloud) -> None:
    await ram(cloud)
    client = Client(cloud.config(cloud.keys["reader"]))
    ask = models.CreateUserRequest(user_name="mine")
    error = await refused(client.create_user, ask)
    assert error.code == "NoPermission"
    assert "ram:CreateUser" in str(error)
