"""Whether a caller may know of an instance."""

import pytest

from shoal.control.api.actions import Asked
from shoal.control.api.callers import Caller
from shoal.control.api.faults import Fault
from shoal.control.api.instances import instance_of, ways_of
from shoal.control.store.changes import Author
from shoal.core.console.models import PrincipalKind
from unit.control.api.served_cloud import INSTANCE, Cloud


def _asked(cloud: Cloud, *actions: str) -> Asked:
    statements = ",".join(
        f'{{"Effect":"{effect}","Action":"{action}","Resource":"*"}}'
        for effect, _, action in (one.partition(" ") for one in actions)
    )
    caller = Caller(
        account=cloud.account,
        kind=PrincipalKind.USER,
        id="1",
        arn="acs:ram::1:user/u",
        principals=(),
        documents=(f'{{"Version":"1","Statement":[{statements}]}}',),
    )
    return Asked(cloud.console, caller, Author("u", "", "R"), {"InstanceId": INSTANCE})


async def test_an_action_may_be_implied_by_another_unless_it_is_denied_by_name(
    cloud: Cloud,
) -> None:
    allowed = _asked(cloud, "Allow cr:GetInstanceVpcEndpoint")
    found = await instance_of(allowed, "ReportP2PComponent", implied_by="GetInstanceVpcEndpoint")
    assert found.id == INSTANCE
    with pytest.raises(Fault, match="ReportP2PComponent"):
        await instance_of(allowed, "ReportP2PComponent")
    denied = _asked(cloud, "Allow cr:*", "Deny cr:ReportP2PComponent")
    with pytest.raises(Fault, match="ReportP2PComponent"):
        await instance_of(denied, "ReportP2PComponent", implied_by="GetInstanceVpcEndpoint")


async def test_the_ways_in_are_the_instances(cloud: Cloud) -> None:
    endpoints, links = await ways_of(_asked(cloud), INSTANCE)
    assert [one.kind.value for one in endpoints] == ["internet", "vpc"]
    assert links == []
