"""RAM's policies, by RAM's own SDK: what is attached counts at the next call."""

import asyncio
import json
from typing import Any

import pytest
from alibabacloud_cr20181201 import models as registry
from alibabacloud_ram20150501 import models

from shoal.core.console.documents import PERMISSIONS
from unit.control.api.served_cloud import INSTANCE, Cloud, refused
from unit.control.api.test_ram import ram


async def _do(call: Any, *arguments: object) -> Any:
    return (await asyncio.to_thread(call, *arguments)).body


async def test_a_policy_is_made_attached_and_holds_until_it_is_detached(cloud: Cloud) -> None:
    client = await ram(cloud)
    await _do(
        client.create_policy,
        models.CreatePolicyRequest(policy_name="edge", policy_document=PERMISSIONS),
    )
    look = registry.GetInstanceVpcEndpointRequest(instance_id=INSTANCE)
    asking = cloud.registry("nobody").get_instance_vpc_endpoint
    assert (await refused(asking, look)).code == "NoPermission"
    pair: dict[str, Any] = {
        "policy_name": "edge",
        "policy_type": "Custom",
        "user_name": "nobody",
    }
    await _do(client.attach_policy_to_user, models.AttachPolicyToUserRequest(**pair))
    assert (await _do(asking, look)).is_success
    held = await _do(
        client.list_policies_for_user, models.ListPoliciesForUserRequest(user_name="nobody")
    )
    assert [one.policy_name for one in held.policies.policy] == ["edge"]
    in_use = models.DeletePolicyRequest(policy_name="edge")
    assert (await refused(client.delete_policy, in_use)).code == "DeleteConflict"
    await _do(client.detach_policy_from_user, models.DetachPolicyFromUserRequest(**pair))
    assert (await refused(asking, look)).code == "NoPermission"
    await _do(client.delete_policy, in_use)


async def test_roles_have_policies_too(cloud: Cloud) -> None:
    client = await ram(cloud)
    pair: dict[str, Any] = {
        "policy_name": "AliyunContainerRegistryFullAccess",
        "policy_type": "System",
        "role_name": "cluster",
    }
    await _do(client.attach_policy_to_role, models.AttachPolicyToRoleRequest(**pair))
    held = await _do(
        client.list_policies_for_role, models.ListPoliciesForRoleRequest(role_name="cluster")
    )
    assert [(one.policy_name, one.policy_type) for one in held.policies.policy] == [
        ("AliyunContainerRegistryFullAccess", "System"),
        ("AliyunSTSAssumeRoleAccess", "System"),
    ]
    await _do(client.detach_policy_from_role, models.DetachPolicyFromRoleRequest(**pair))


async def test_a_policy_is_described_with_its_document(cloud: Cloud) -> None:
    client = await ram(cloud)
    pair = {"policy_name": "p2p", "policy_type": "Custom", "role_name": "cluster"}
    await _do(client.attach_policy_to_role, models.AttachPolicyToRoleRequest(**pair))
    found = await _do(
        client.get_policy, models.GetPolicyRequest(policy_name="p2p", policy_type="Custom")
    )
    assert json.loads(found.default_policy_version.policy_document) == json.loads(PERMISSIONS)
    assert found.policy.attachment_count == 1
    custom = await _do(client.list_policies, models.ListPoliciesRequest(policy_type="Custom"))
    assert [one.policy_name for one in custom.policies.policy] == ["p2p"]


@pytest.mark.parametrize(
    ("call", "request_", "code"),
    [
        (
            "create_policy",
            models.CreatePolicyRequest(policy_name="p2p", policy_document=PERMISSIONS),
            "EntityAlreadyExists.Policy",
        ),
        (
            "create_policy",
            models.CreatePolicyRequest(policy_name="new", policy_document="[]"),
            "MalformedPolicyDocument.PolicyDocument",
        ),
        (
            "get_policy",
            models.GetPolicyRequest(policy_name="p2p", policy_type="System"),
            "EntityNotExist.Policy",
        ),
        (
            "get_policy",
            models.GetPolicyRequest(policy_name="p2p", policy_type="Mine"),
            "InvalidParameter.PolicyType",
        ),
        (
            "delete_policy",
            models.DeletePolicyRequest(policy_name="AliyunSTSAssumeRoleAccess"),
            "DeleteConflict",
        ),
        (
            "list_policies_for_user",
            models.ListPoliciesForUserRequest(user_name="none"),
            "EntityNotExist.User",
        ),
    ],
)
async def test_what_cannot_be_done_says_why(
    cloud: Cloud, call: str, request_: object, code: str
) -> None:
    client = await ram(cloud)
    assert (await refused(getattr(client, call), request_)).code == code
