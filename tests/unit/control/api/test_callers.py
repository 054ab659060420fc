"""Who calls, by the SDK: keys that are wrong, off, gone, or whose role is gone."""

import asyncio

from alibabacloud_cr20181201 import models

from shoal.control.store import access
from shoal.core.console.models import PrincipalKind
from unit.control.api.served_cloud import INSTANCE, Cloud, refused


async def test_a_wrong_secret_and_an_unknown_key_are_told_apart(cloud: Cloud) -> None:
    key, secret = cloud.keys["reader"]
    cloud.keys["wrong"], cloud.keys["none"] = (key, "wrong"), ("LTAI5tnone", secret)
    for version in ("", "v2"):
        error = await refused(cloud.sts("wrong", version=version).get_caller_identity)
        assert error.code == "SignatureDoesNotMatch"
        error = await refused(cloud.sts("none", version=version).get_caller_identity)
        assert (error.code, error.status_code) == ("InvalidAccessKeyId.NotFound", 404)


async def test_a_key_that_is_switched_off_is_refused(cloud: Cloud) -> None:
    key = cloud.keys["reader"][0]
    await cloud.change(
        lambda change: access.set_key_active(change, cloud.account, "reader", key, active=False)
    )
    error = await refused(cloud.sts().get_caller_identity)
    assert error.code == "InvalidAccessKeyId.Inactive"


async def test_a_session_ends_with_its_role_and_a_new_one_of_its_name_is_another(
    cloud: Cloud,
) -> None:
    from alibabacloud_sts20150401.models import AssumeRoleRequest

    ask = AssumeRoleRequest(role_arn=cloud.arn("registry"), role_session_name="p2p")
    made = (await asyncio.to_thread(cloud.sts().assume_role, ask)).body.credentials
    cloud.keys["s"] = (made.access_key_id, made.access_key_secret)
    role = await cloud.console.read(
        lambda connection: access.role(connection, cloud.other_account, "registry")
    )
    for again in (False, True):
        await cloud.change(
            lambda change: access.remove_role(change, cloud.other_account, "registry")
        )
        if again:
            await cloud.change(
                lambda change: access.put_role(
                    change,
                    cloud.other_account,
                    "registry",
                    comment="",
                    trust=role.trust,
                    max_session_s=3600,
                )
            )
        error = await refused(cloud.sts("s", token=made.security_token).get_caller_identity)
        assert error.code == "InvalidSecurityToken.Expired"
        if not again:
            await cloud.change(
                lambda change: access.put_role(
                    change,
                    cloud.other_account,
                    "registry",
                    comment="",
                    trust=role.trust,
                    max_session_s=3600,
                )
            )


async def test_what_is_remembered_of_a_caller_ends_with_the_next_change(cloud: Cloud) -> None:
    ask = models.GetInstanceRequest(instance_id=INSTANCE)
    key_id = cloud.keys["reader"][0]
    registry = cloud.registry()
    policy = "AliyunContainerRegistryReadOnlyAccess"
    for undo, redo, code in (
        (
            lambda c: access.detach(c, cloud.account, policy, PrincipalKind.USER, "reader"),
            lambda c: access.attach(c, cloud.account, policy, PrincipalKind.USER, "reader"),
            "NoPermission",
        ),
        (
            lambda c: access.set_key_active(c, cloud.account, "reader", key_id, active=False),
            lambda c: access.set_key_active(c, cloud.account, "reader", key_id, active=True),
            "InvalidAccessKeyId.Inactive",
        ),
    ):
        assert (await asyncio.to_thread(registry.get_instance, ask)).status_code == 200
        await cloud.change(undo)
        assert (await refused(registry.get_instance, ask)).code == code
        await cloud.change(redo)
    await cloud.change(lambda c: access.remove_user(c, cloud.account, "reader"))
    assert (await refused(registry.get_instance, ask)).code == "InvalidAccessKeyId.NotFound"
