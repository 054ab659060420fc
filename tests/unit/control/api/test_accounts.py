"""Accounts by the API: made by the first one, entered by a role, closed to each other."""

import asyncio
from typing import Any

from alibabacloud_cr20181201 import models as registry
from alibabacloud_sts20150401 import models as sts

from shoal.control.api.accounts import VERSION
from shoal.control.store import access
from shoal.control.store.changes import Change
from shoal.control.store.system_policies import ADMINISTRATOR_ACCESS
from shoal.core.console.models import PrincipalKind, ram_arn
from unit.control.api.served_cloud import INSTANCE, REMOTE, Cloud, refused, rpc


async def _manager(cloud: Cloud) -> Any:
    def make(change: Change) -> None:
        access.attach(change, cloud.account, ADMINISTRATOR_ACCESS, PrincipalKind.USER, "owner")

    await cloud.change(make)
    return cloud.registry("owner")


async def _enter(cloud: Cloud, account: str) -> Any:
    """Return Container Registry's client for a role that a new account has."""
    role = ram_arn(account, "role", "ResourceDirectoryAccountAccessRole")
    ask = sts.AssumeRoleRequest(role_arn=role, role_session_name="set-up")
    made = (await asyncio.to_thread(cloud.sts("owner").assume_role, ask)).body.credentials
    cloud.keys[account] = (made.access_key_id, made.access_key_secret)
    return cloud.registry(account, token=made.security_token)


async def test_a_new_account_is_filled_by_the_role_that_it_begins_with(cloud: Cloud) -> None:
    manager = await _manager(cloud)
    made = await asyncio.to_thread(rpc, manager, "CreateResourceAccount", DisplayName="factory")
    account = made["Account"]["AccountId"]
    listed = await asyncio.to_thread(rpc, manager, "ListAccounts")
    names = [one["DisplayName"] for one in listed["Accounts"]["Account"]]
    assert names == ["factory", "registry"]
    inside = await _enter(cloud, account)
    created = await asyncio.to_thread(
        rpc,
        inside,
        "CreateInstance",
        "2018-12-01",
        RegionId="cn-hangzhou",
        InstanceName="line",
        InstanceSpecification="Enterprise_Standard",
        RegistryUrl="http://127.0.0.1:5000",
    )
    look = registry.GetInstanceRequest(instance_id=created["InstanceId"])
    assert (await asyncio.to_thread(inside.get_instance, look)).body.instance_name == "line"
    assert (await refused(manager.get_instance, look)).code == "INSTANCE_NOT_EXIST"
    again = await refused(rpc, manager, "CreateResourceAccount", VERSION)
    assert again.code == "MissingParameter"


async def test_an_instance_is_there_for_its_own_account_alone(cloud: Cloud) -> None:
    manager = await _manager(cloud)
    inside = await _enter(cloud, cloud.other_account)
    for client, own, other in ((manager, INSTANCE, REMOTE), (inside, REMOTE, INSTANCE)):
        listed = await asyncio.to_thread(client.list_instance, registry.ListInstanceRequest())
        assert [one.instance_id for one in listed.body.instances] == [own]
        for look in (client.get_instance_vpc_endpoint, client.list_instance_endpoint):
            kind = (
                registry.GetInstanceVpcEndpointRequest
                if look == client.get_instance_vpc_endpoint
                else registry.ListInstanceEndpointRequest
            )
            assert (await asyncio.to_thread(look, kind(instance_id=own))).body.is_success
            assert (await refused(look, kind(instance_id=other))).code == "INSTANCE_NOT_EXIST"
        switch = {"InstanceId": other, "Enable": "true", "Confirm": "true"}
        error = await refused(
            lambda client, switch: rpc(
                client, "SetInstanceP2PAcceleration", "2018-12-01", **switch
            ),
            client,
            switch,
        )
        assert error.code == "INSTANCE_NOT_EXIST"


async def test_only_the_first_account_manages_others_and_a_name_is_taken_once(
    cloud: Cloud,
) -> None:
    manager = await _manager(cloud)
    inside = await _enter(cloud, cloud.other_account)
    assert (await refused(rpc, inside, "ListAccounts")).code == "NotAuthorized.ManagementAccount"
    assert (await refused(rpc, cloud.registry("nobody"), "ListAccounts")).code == "NoPermission"
    error = await refused(
        lambda client: rpc(client, "CreateResourceAccount", DisplayName="registry"), manager
    )
    assert error.code == "EntityAlreadyExists.ResourceAccount"


async def test_a_role_opens_to_an_account_or_to_one_of_its_roles_as_its_trust_policy_says(
    cloud: Cloud,
) -> None:
    await _manager(cloud)
    reader = ram_arn(cloud.account, "user", "reader")
    ask = sts.AssumeRoleRequest(role_arn=cloud.arn("registry"), role_session_name="look")
    for trusted, assumed in (
        (f"acs:ram::{cloud.account}:root", True),
        (f"acs:ram::{cloud.other_account}:root", False),
        (reader, True),
        (ram_arn(cloud.account, "user", "owner"), False),
        (ram_arn(cloud.other_account, "user", "reader"), False),
    ):
        trust = (
            '{"Version":"1","Statement":[{"Effect":"Allow","Action":"sts:AssumeRole",'
            f'"Principal":{{"RAM":["{trusted}"]}}}}]}}'
        )
        await cloud.change(
            lambda change, trust=trust: access.put_role(  # type: ignore[misc] # bound now
                change, cloud.other_account, "registry", comment="", trust=trust, max_session_s=3600
            )
        )
        if assumed:
            done = await asyncio.to_thread(cloud.sts().assume_role, ask)
            assert done.body.assumed_role_user.arn == f"{cloud.arn('registry')}/look"
        else:
            assert (await refused(cloud.sts().assume_role, ask)).code == "NoPermission"
