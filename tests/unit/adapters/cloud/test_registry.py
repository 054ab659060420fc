"""Container Registry's answers, from a real console."""

from dataclasses import replace

import pytest

from shoal.adapters.cloud import sdk
from shoal.adapters.cloud.credentials import Credentials, Refresher
from shoal.adapters.cloud.registry import RegistryApi
from shoal.adapters.cloud.sources import source_of
from shoal.control.store import access
from shoal.core.cloud.failures import Failure, Stage
from shoal.core.console.chart_values import Method
from unit.adapters.cloud.page import DOMAIN, VPC, Page
from unit.control.api.served_cloud import INSTANCE


def _api(page: Page, method: Method = Method.ACCESS_KEY) -> RegistryApi:
    settings = page.settings(method)
    return RegistryApi(settings, Refresher(source_of(settings)))


async def test_an_instance_its_endpoints_and_its_switch_are_told(page: Page) -> None:
    api = _api(page)
    described = await api.describe(INSTANCE)
    assert (described.name, described.edition) == ("demo", "Enterprise_Standard")
    vpc = await api.vpc_endpoint(INSTANCE)
    assert (vpc.enabled, vpc.domains, vpc.links) == (True, (DOMAIN,), ((VPC, "RUNNING"),))
    ways = await api.endpoints(INSTANCE)
    assert [(way.kind, way.enabled) for way in ways] == [("internet", False), ("vpc", True)]
    switch = await api.switch(INSTANCE)
    assert (switch.enabled, switch.generation) == (True, 1)


async def test_a_session_that_ended_before_its_time_is_replaced(page: Page) -> None:
    settings = page.settings(Method.RRSA)

    class Once:
        def __init__(self) -> None:
            self.fetched = 0

        async def fetch(self) -> Credentials:
            self.fetched += 1
            made = await source_of(settings).fetch()
            return made if self.fetched > 1 else replace(made, token="gone")

    source = Once()
    api = RegistryApi(settings, Refresher(source))
    assert (await api.vpc_endpoint(INSTANCE)).enabled
    assert source.fetched == 2


async def test_a_role_that_was_deleted_stays_refused(page: Page) -> None:
    api = _api(page, Method.RRSA)
    await api.vpc_endpoint(INSTANCE)
    await page.change(lambda change: access.remove_role(change, page.cloud.account, "cluster"))
    with pytest.raises(Exception, match="there is no RAM role"):
        await api.vpc_endpoint(INSTANCE)


async def test_a_cloud_without_the_switch_leaves_it_unknown(
    page: Page, monkeypatch: pytest.MonkeyPatch
) -> None:
    api = _api(page)

    async def own(action: str, query: object) -> object:
        raise sdk.CallFailed(
            Failure(stage=Stage.REGISTRY, action=action, code="InvalidAction.NotFound")
        )

    monkeypatch.setattr(api, "_own", own)
    assert (await api.switch(INSTANCE)).enabled is None
    assert (await api.report(INSTANCE, {})).enabled is None
