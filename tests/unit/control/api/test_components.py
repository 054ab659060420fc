"""Reports of clusters, made by the SDK's way to call an action that it has no method for."""

import asyncio
from typing import Any

import pytest

from shoal.control.store import clusters, instances
from shoal.core.console.switch import SwitchRefused
from unit.control.api.served_cloud import INSTANCE, Cloud, refused, rpc

REPORT = {
    "InstanceId": INSTANCE,
    "ClusterId": "c1",
    "ComponentVersion": "0.4.0",
    "Method": "rrsa",
    "ClusterName": "edge",
    "ClusterVersion": "1.28.3",
}


def _ask(cloud: Cloud, user: str, **others: str) -> dict[str, Any]:
    body: dict[str, Any] = rpc(
        cloud.registry(user), "ReportP2PComponent", "2018-12-01", **{**REPORT, **others}
    )
    return body


async def _report(cloud: Cloud, user: str = "owner", **others: str) -> dict[str, Any]:
    return await asyncio.to_thread(_ask, cloud, user, **others)


async def test_a_cluster_that_reports_is_known_and_keeps_the_switch_on(cloud: Cloud) -> None:
    await cloud.change(lambda c: _switched(c, on=True))
    body = await _report(cloud, Installed="true")
    assert (body["Enable"], body["Generation"]) == (True, 1)
    cluster = await cloud.console.read(lambda c: clusters.find(c, "c1"))
    assert (cluster.name, cluster.version, cluster.rrsa_enabled) == ("edge", "1.28.3", True)
    with pytest.raises(SwitchRefused, match=r"still installed in edge \(c1\)"):
        await cloud.change(lambda c: _switched(c, on=False))


async def test_an_uninstalled_component_lets_the_switch_go_and_may_say_so_twice(
    cloud: Cloud,
) -> None:
    await cloud.change(lambda c: _switched(c, on=True))
    await _report(cloud, Installed="true")
    for _ in range(2):
        assert (await _report(cloud, Uninstalled="true"))["Enable"] is True
    await cloud.change(lambda c: _switched(c, on=False))
    assert (await _report(cloud))["Enable"] is False


async def test_after_the_switch_was_off_only_a_reinstalled_component_shares(cloud: Cloud) -> None:
    await cloud.change(lambda c: _switched(c, on=True))
    await _report(cloud, Installed="true")
    await cloud.change(lambda c: _switched(c, on=False, forced=True))
    assert (await _report(cloud))["Enable"] is False
    await cloud.change(lambda c: _switched(c, on=True))
    assert (await _report(cloud))["Enable"] is False, "a heartbeat is no installation"
    assert (await _report(cloud, Installed="true"))["Enable"] is True


async def test_the_documentations_policy_is_enough_and_none_is_not(cloud: Cloud) -> None:
    assert (await _report(cloud, "reader"))["IsSuccess"]
    assert (await refused(_ask, cloud, "nobody")).code == "NoPermission"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ClusterId", "C 1"),
        ("ComponentVersion", "x" * 300),
        ("Method", "magic"),
        ("ClusterVpcId", "x"),
    ],
)
async def test_a_report_that_makes_no_sense_is_refused(cloud: Cloud, name: str, value: str) -> None:
    error = await refused(lambda: _ask(cloud, "owner", **{name: value}))
    assert error.code == f"InvalidParameter.{name}"


def _switched(change: Any, *, on: bool, forced: bool = False) -> None:
    instances.switch(change, INSTANCE, enable=on, confirmed=True, forced=forced)
