"""Container Registry, version 2018-12-01: instances, endpoints, VPC links and the P2P switch.

The documented actions answer as the cloud's do. CreateInstance and Get- and
SetInstanceP2PAcceleration are ours: the cloud has these in its console alone.
"""

from collections.abc import Mapping

from shoal.control.api.actions import DONE, Action, Asked, invalid, stamp, whole
from shoal.control.api.faults import Fault
from shoal.control.api.instances import instance_of, ways_of
from shoal.control.store import instances
from shoal.control.store.changes import Change
from shoal.control.store.records import AlreadyExists, NotFound
from shoal.core.console import fields
from shoal.core.console.models import Edition, EndpointKind, Instance, LinkStatus, VpcLink
from shoal.core.console.switch import SwitchRefused

VERSION = "2018-12-01"


async def get_instance(asked: Asked) -> dict[str, object]:
    """Describe one instance."""
    return {**DONE, **_described(await instance_of(asked, "GetInstance"))}


async def list_instance(asked: Asked) -> dict[str, object]:
    """Describe instances, a page of them."""
    asked.caller.demand("cr:ListInstance", f"acs:cr:*:{asked.account}:instance/*")
    page = whole(asked.parameters, "PageNo", default=1, low=1, high=100_000)
    size = whole(asked.parameters, "PageSize", default=30, low=1, high=100)
    found = await asked.console.read(lambda c: instances.find_all(c, account=asked.account))
    for key, attribute in (
        ("RegionId", "region"),
        ("InstanceName", "name"),
        ("InstanceStatus", "status"),
    ):
        if wanted := asked.parameters.get(key):
            found = [one for one in found if getattr(one, attribute) == wanted]
    shown = found[(page - 1) * size : page * size]
    return {
        **DONE,
        "PageNo": page,
        "PageSize": size,
        "TotalCount": len(found),
        "Instances": [{**_described(one), "RegionId": one.region} for one in shown],
    }


async def create_instance(asked: Asked) -> dict[str, object]:
    """Put an instance before a registry. The cloud sells them instead: this action is ours."""
    region = asked.checked("RegionId", fields.region)
    asked.caller.demand("cr:CreateInstance", f"acs:cr:{region}:{asked.account}:instance/*")
    name = asked.checked("InstanceName", fields.instance_name)
    edition = Edition(asked.checked("InstanceSpecification", fields.edition))
    registry_url = asked.checked("RegistryUrl", fields.registry_url)

    def make(change: Change) -> Instance:
        return instances.make(
            change,
            asked.account,
            name=name,
            region=region,
            edition=edition,
            registry_url=registry_url,
        )

    try:
        made = await asked.console.change(asked.author, make)
    except AlreadyExists as error:
        raise Fault(409, "INSTANCE_NAME_EXIST", str(error)) from error
    return {**DONE, "InstanceId": made.id}


async def get_instance_vpc_endpoint(asked: Asked) -> dict[str, object]:
    """Describe the way in by VPC, whose `Domains` are texts."""
    instance = await instance_of(asked, "GetInstanceVpcEndpoint")
    endpoints, links = await ways_of(asked, instance.id)
    vpc = next((one for one in endpoints if one.kind is EndpointKind.VPC), None)
    return {
        **DONE,
        "Enable": vpc is not None and vpc.enabled,
        "ModuleName": _module(asked),
        "Domains": list(vpc.domains) if vpc is not None else [],
        "LinkedVpcs": [
            {
                "VpcId": link.vpc_id,
                "VswitchId": link.vswitch_id,
                "Ip": link.ip,
                "Status": link.status.value,
                "DefaultAccess": link.default_access,
            }
            for link in links
        ],
    }


async def list_instance_endpoint(asked: Asked) -> dict[str, object]:
    """Describe all ways in, whose `Domains` are objects."""
    instance = await instance_of(asked, "ListInstanceEndpoint")
    endpoints, links = await ways_of(asked, instance.id)
    summary = asked.flag("Summary", default=False)
    _module(asked)
    return {
        **DONE,
        "Endpoints": [
            {
                "EndpointType": one.kind.value,
                "Enable": one.enabled,
                "Status": "RUNNING",
                "AclEnable": one.acl_enabled,
                "AclEntries": [] if summary else [{"Entry": entry} for entry in one.acl],
                "Domains": [_domain(name) for name in one.domains],
                "LinkedVpcs": [
                    {"VpcId": link.vpc_id} for link in links if one.kind is EndpointKind.VPC
                ],
            }
            for one in endpoints
        ],
    }


async def create_linked_vpc(asked: Asked) -> dict[str, object]:
    """Put a VPC into an instance's VPC ACL."""
    instance = await instance_of(asked, "CreateInstanceVpcEndpointLinkedVpc")
    link = VpcLink(
        instance_id=instance.id,
        vpc_id=asked.text("VpcId"),
        vswitch_id=asked.text("VswitchId"),
        ip="",
        status=LinkStatus.RUNNING,
        default_access=False,
    )
    try:
        await asked.console.change(asked.author, lambda change: instances.add_link(change, link))
    except AlreadyExists as error:
        raise Fault(400, "VPC_ALREADY_LINKED", str(error)) from error
    return dict(DONE)


async def delete_linked_vpc(asked: Asked) -> dict[str, object]:
    """Take a VPC out of an instance's VPC ACL."""
    instance = await instance_of(asked, "DeleteInstanceVpcEndpointLinkedVpc")
    vpc_id = asked.text("VpcId")
    try:
        await asked.console.change(
            asked.author, lambda change: instances.remove_link(change, instance.id, vpc_id)
        )
    except NotFound as error:
        raise Fault(404, "VPC_NOT_LINKED", str(error)) from error
    return dict(DONE)


async def get_p2p(asked: Asked) -> dict[str, object]:
    """Say whether P2P Acceleration is on.

    The policy of the component's documentation is enough, which cannot name an action of ours.
    """
    instance = await instance_of(
        asked, "GetInstanceP2PAcceleration", implied_by="GetInstanceVpcEndpoint"
    )
    return {
        **DONE,
        "InstanceId": instance.id,
        "Enable": instance.p2p_enabled,
        "Generation": instance.p2p_generation,
    }


async def set_p2p(asked: Asked) -> dict[str, object]:
    """Turn P2P Acceleration on or off, by the rules that the pages keep as well."""
    instance = await instance_of(asked, "SetInstanceP2PAcceleration")
    enable = asked.flag("Enable")
    confirmed = asked.flag("Confirm", default=False)
    forced = asked.flag("Force", default=False)
    try:
        switched = await asked.console.change(
            asked.author,
            lambda change: instances.switch(
                change, instance.id, enable=enable, confirmed=confirmed, forced=forced
            ),
        )
    except SwitchRefused as refused:
        raise Fault(409, refused.code, str(refused)) from refused
    return {**DONE, "Enable": switched.enabled, "Generation": switched.generation}


async def get_instance_endpoint(asked: Asked) -> dict[str, object]:
    """Describe the way in from the internet, the only one that this action knows."""
    instance = await instance_of(asked, "GetInstanceEndpoint")
    kind = asked.text("EndpointType")
    if kind.lower() != EndpointKind.INTERNET.value:
        raise invalid("EndpointType", "Internet: the VPC's has GetInstanceVpcEndpoint")
    endpoints, _ = await ways_of(asked, instance.id)
    _module(asked)
    found = next((one for one in endpoints if one.kind is EndpointKind.INTERNET), None)
    return {
        **DONE,
        "Enable": found is not None and found.enabled,
        "Status": "RUNNING",
        "AclEnable": found is not None and found.acl_enabled,
        "AclEntries": [{"Entry": entry, "Comment": ""} for entry in found.acl] if found else [],
        "Domains": [_domain(name) for name in found.domains] if found else [],
    }


ACTIONS: Mapping[str, Action] = {
    "CreateInstance": create_instance,
    "GetInstance": get_instance,
    "ListInstance": list_instance,
    "GetInstanceVpcEndpoint": get_instance_vpc_endpoint,
    "ListInstanceEndpoint": list_instance_endpoint,
    "CreateInstanceVpcEndpointLinkedVpc": create_linked_vpc,
    "DeleteInstanceVpcEndpointLinkedVpc": delete_linked_vpc,
    "GetInstanceEndpoint": get_instance_endpoint,
    "GetInstanceP2PAcceleration": get_p2p,
    "SetInstanceP2PAcceleration": set_p2p,
}


def _domain(name: str) -> dict[str, str]:
    return {"Domain": name, "Type": "SYSTEM" if name.endswith(".cr.aliyuncs.com") else "USER"}


def _described(instance: Instance) -> dict[str, object]:
    return {
        "InstanceId": instance.id,
        "InstanceName": instance.name,
        "InstanceSpecification": instance.edition.value,
        "InstanceStatus": instance.status.value,
        "CreateTime": stamp(instance.created_at),
        "ModifiedTime": stamp(instance.modified_at),
    }


def _module(asked: Asked) -> str:
    name = asked.parameters.get("ModuleName") or "Registry"
    if name != "Registry":
        raise invalid("ModuleName", "Registry: there are no charts here")
    return name
