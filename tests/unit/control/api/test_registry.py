"""Container Registry, called by the cloud's own SDK with both signatures."""

import asyncio

import pytest
from alibabacloud_cr20181201 import models

from unit.control.api.served_cloud import INSTANCE, Cloud, refused


@pytest.mark.parametrize("version", ["", "v2"])
async def test_an_instance_is_described_whichever_way_the_call_is_signed(
    cloud: Cloud, version: str
) -> None:
    client = cloud.registry(version=version)
    body = (
        await asyncio.to_thread(
            client.get_instance, models.GetInstanceRequest(instance_id=INSTANCE)
        )
    ).body
    assert (body.is_success, body.code) == (True, "success")
    assert body.instance_specification == "Enterprise_Standard"
    assert (body.instance_status, body.instance_name) == ("RUNNING", "demo")


async def test_instances_are_listed_a_page_at_a_time(cloud: Cloud) -> None:
    client = cloud.registry()
    first = (
        await asyncio.to_thread(client.list_instance, models.ListInstanceRequest(page_size=1))
    ).body
    assert [one.instance_id for one in first.instances] == [INSTANCE]
    assert (first.total_count, first.instances[0].region_id) == (1, "cn-hangzhou")
    second = (
        await asyncio.to_thread(client.list_instance, models.ListInstanceRequest(page_no=2))
    ).body
    assert second.instances == []


async def test_a_vpc_is_linked_shown_and_unlinked(cloud: Cloud) -> None:
    client = cloud.registry("owner")
    link = models.CreateInstanceVpcEndpointLinkedVpcRequest(
        instance_id=INSTANCE, vpc_id="vpc-1", vswitch_id="vsw-1"
    )
    await asyncio.to_thread(client.create_instance_vpc_endpoint_linked_vpc, link)
    again = await refused(client.create_instance_vpc_endpoint_linked_vpc, link)
    assert again.code == "VPC_ALREADY_LINKED"

    ask = models.GetInstanceVpcEndpointRequest(instance_id=INSTANCE)
    vpc = (await asyncio.to_thread(client.get_instance_vpc_endpoint, ask)).body
    assert vpc.enable
    assert vpc.domains == ["demo-registry-vpc.cn-hangzhou.cr.aliyuncs.com"]
    assert [(one.vpc_id, one.status) for one in vpc.linked_vpcs] == [("vpc-1", "RUNNING")]

    ask_all = models.ListInstanceEndpointRequest(instance_id=INSTANCE)
    ways = (await asyncio.to_thread(client.list_instance_endpoint, ask_all)).body.endpoints
    assert [(way.endpoint_type, way.enable) for way in ways] == [("internet", False), ("vpc", True)]
    assert ways[1].domains[0].domain == "demo-registry-vpc.cn-hangzhou.cr.aliyuncs.com"
    assert ways[1].domains[0].type == "SYSTEM"
    assert ways[1].linked_vpcs[0].vpc_id == "vpc-1"

    unlink = models.DeleteInstanceVpcEndpointLinkedVpcRequest(
        instance_id=INSTANCE, vpc_id="vpc-1", vswitch_id="vsw-1"
    )
    await asyncio.to_thread(client.delete_instance_vpc_endpoint_linked_vpc, unlink)
    gone = await refused(client.delete_instance_vpc_endpoint_linked_vpc, unlink)
    assert gone.code == "VPC_NOT_LINKED"


async def test_an_instance_that_is_not_there_is_so_only_for_who_may_ask(cloud: Cloud) -> None:
    ask = models.GetInstanceRequest(instance_id="cri-none")
    assert (await refused(cloud.registry().get_instance, ask)).code == "INSTANCE_NOT_EXIST"
    denied = await refused(cloud.registry("nobody").get_instance, ask)
    assert (denied.code, denied.status_code) == ("NoPermission", 403)
    assert "cr:GetInstance" in str(denied)


async def test_a_chart_module_is_refused(cloud: Cloud) -> None:
    ask = models.GetInstanceVpcEndpointRequest(instance_id=INSTANCE, module_name="Chart")
    error = await refused(cloud.registry().get_instance_vpc_endpoint, ask)
    assert error.code == "InvalidParameter.ModuleName"


async def test_the_internet_endpoint_is_described_and_no_other(cloud: Cloud) -> None:
    ask = models.GetInstanceEndpointRequest(instance_id=INSTANCE, endpoint_type="Internet")
    body = (await asyncio.to_thread(cloud.registry().get_instance_endpoint, ask)).body
    assert (body.enable, body.acl_enable) == (False, True)
    assert [one.domain for one in body.domains] == ["demo-registry.cn-hangzhou.cr.aliyuncs.com"]
    other = models.GetInstanceEndpointRequest(instance_id=INSTANCE, endpoint_type="Vpc")
    error = await refused(cloud.registry().get_instance_endpoint, other)
    assert error.code == "InvalidParameter.EndpointType"
