"""Look-ups at a real console, through the cloud's own SDKs."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from aiohttp import web

from shoal.adapters.cloud.lookup import TRIES, AcrLookup
from shoal.control.store import access, instances
from shoal.core.console.chart_values import Method
from shoal.core.console.models import Endpoint, EndpointKind, PrincipalKind
from unit.adapters.cloud.page import DOMAIN, REMOTE_DOMAIN, Page
from unit.control.api.served_cloud import INSTANCE, REMOTE


@pytest.mark.parametrize("method", list(Method))
async def test_every_method_leads_to_the_domains(page: Page, method: Method) -> None:
    found = await page.look_up(page.settings(method))
    assert [(one.name, one.why) for one in found.domains] == [
        (DOMAIN, f"VPC endpoint of {INSTANCE}")
    ]
    assert found.blocking == ()
    assert (found.region, found.vpc_id) == ("cn-hangzhou", "vpc-1")
    assert found.switches[INSTANCE].enabled is True


async def test_a_role_of_another_account_leads_to_them_too(page: Page) -> None:
    found = await page.look_up(page.across(), REMOTE)
    assert [one.name for one in found.domains] == [REMOTE_DOMAIN]
    assert found.blocking == ()


async def test_one_instance_that_fails_leaves_the_others_as_they_are(page: Page) -> None:
    found = await AcrLookup(page.settings(Method.ACCESS_KEY)).look_up(["cri-none", INSTANCE])
    assert [one.name for one in found.domains] == [DOMAIN]
    assert [one.mistake.value for one in found.blocking] == ["instance-unknown"]


async def test_a_new_domain_and_a_moved_switch_are_seen_the_next_time(page: Page) -> None:
    lookup = AcrLookup(page.settings(Method.RRSA))
    await lookup.look_up([INSTANCE])
    endpoint = Endpoint(
        instance_id=INSTANCE,
        kind=EndpointKind.VPC,
        enabled=True,
        acl_enabled=True,
        domains=(DOMAIN, "images.example.com"),
        acl=(),
    )
    await page.change(lambda change: instances.put_endpoint(change, endpoint))
    await page.change(lambda c: instances.switch(c, INSTANCE, enable=False, confirmed=True))
    assert [one.name for one in (await lookup.look_up([INSTANCE])).domains] == [
        DOMAIN,
        "images.example.com",
    ]
    assert (await lookup.switch(INSTANCE)).enabled is False


async def test_a_switch_that_may_not_be_asked_is_unknown_and_no_obstacle(page: Page) -> None:
    document = (
        '{"Version":"1","Statement":[{"Effect":"Deny","Action":"cr:GetInstanceP2PAcceleration",'
        '"Resource":"*"}]}'
    )

    def deny(change: Any) -> None:
        access.put_policy(change, page.cloud.account, "deny", comment="", document=document)
        access.attach(change, page.cloud.account, "deny", PrincipalKind.USER, "reader")

    await page.change(deny)
    found = await page.look_up(page.settings(Method.ACCESS_KEY))
    assert found.switches[INSTANCE].enabled is None
    assert found.blocking == ()
    assert [one.mistake.value for one in found.advice] == ["switch-unknown"]


async def test_a_throttled_call_is_made_again_after_what_the_cloud_says(page: Page) -> None:
    waits: list[float] = []
    calls = 0

    async def answer(request: web.Request) -> web.Response:
        nonlocal calls
        del request
        calls += 1
        body = {"Code": "Throttling.User", "Message": "too many"}
        return web.json_response(body, status=400, headers={"x-acs-retry-after": "2500"})

    async def pause(seconds: float) -> None:
        waits.append(seconds)

    runner = await _serving(answer)
    try:
        settings = replace(
            page.settings(Method.ACCESS_KEY), endpoint=f"http://127.0.0.1:{_port(runner)}"
        )
        found = await AcrLookup(settings, pause=pause).look_up([INSTANCE])
    finally:
        await runner.cleanup()
    assert [one.mistake.value for one in found.advice] == ["throttled"]
    assert calls == TRIES
    assert waits == [2.5] * (TRIES - 1)


async def _serving(answer: Callable[[web.Request], Any]) -> web.AppRunner:
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app, shutdown_timeout=1.0)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    return runner


def _port(runner: web.AppRunner) -> int:
    port: int = runner.addresses[0][1]
    return port
