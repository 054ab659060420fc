"""What a node's metadata service says besides credentials."""

from dataclasses import replace

from shoal.adapters.cloud.metadata import node_facts
from shoal.core.console.chart_values import Method
from unit.adapters.cloud.page import Page


async def test_region_vpc_and_account_are_told(page: Page) -> None:
    assert await node_facts(page.settings(Method.WORKER_ROLE)) == {
        "region-id": "cn-hangzhou",
        "vpc-id": "vpc-1",
        "owner-account-id": page.cloud.account,
    }


async def test_outside_the_cloud_nothing_is_known(page: Page) -> None:
    settings = replace(page.settings(Method.WORKER_ROLE), metadata_proxy="http://127.0.0.1:9")
    assert await node_facts(settings) == {}


async def test_somebody_elses_page_is_no_fact(page: Page) -> None:
    # The console's own server answers with redirects and pages.
    settings = replace(
        page.settings(Method.WORKER_ROLE), metadata_proxy=f"http://{page.cloud.endpoint}"
    )
    assert await node_facts(settings) == {}
