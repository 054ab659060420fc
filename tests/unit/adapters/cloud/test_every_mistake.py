"""Every step of the page forgotten in turn: the right sentence, from the cloud's own SDK's error.

The console answers for the cloud over loopback, with its real signatures and policies.
"""

import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from aiohttp import web
from sqlalchemy import update

from shoal.adapters.cloud.settings import CloudSettings
from shoal.control.store import access, instances
from shoal.control.store.changes import Change, unix_now
from shoal.control.store.tables import INSTANCE as INSTANCES
from shoal.control.store.tables import VPC_LINK
from shoal.core.cloud.failures import Advice, CloudFailed, Mistake
from shoal.core.cloud.policies import (
    lacking_permissions,
    lacking_trust,
    lacking_trust_in_role,
)
from shoal.core.console.chart_values import Method
from shoal.core.console.models import Edition, Endpoint, EndpointKind, OidcProvider, PrincipalKind
from unit.adapters.cloud.page import VPC, WORKER_ROLE, Page, trust_of
from unit.control.api.served_cloud import INSTANCE, ISSUER, REMOTE, jwks

Arrange = Callable[[Page], Awaitable[CloudSettings]]


@dataclass(frozen=True, slots=True)
class Case:
    """One way to get something wrong, and what the sentence has to say."""

    mistake: Mistake
    words: str
    arrange: Arrange
    instance: str


CASES: dict[str, Case] = {}


def case(mistake: Mistake, words: str, *, instance: str = INSTANCE) -> Callable[[Arrange], Arrange]:
    """Add one, for the function that does it and returns how to ask then."""

    def add(arrange: Arrange) -> Arrange:
        CASES[arrange.__name__.strip("_")] = Case(mistake, words, arrange, instance)
        return arrange

    return add


async def advice_after(page: Page, settings: CloudSettings, id_: str = INSTANCE) -> list[Advice]:
    """Return all that is told, however it comes."""
    try:
        return list((await page.look_up(settings, id_)).advice)
    except CloudFailed as failed:
        return [failed.advice]


def _set(**values: object) -> Callable[[Change], object]:
    return lambda change: change.connection.execute(
        update(INSTANCES).where(INSTANCES.c.id == INSTANCE).values(**values)
    )


# --- The instance -----------------------------------------------------------------------------


@case(Mistake.EDITION_TOO_LOW, "Prerequisites: demo (cri-aaaaaaaaaaaaaaaa) is Basic edition")
async def _basic_edition(page: Page) -> CloudSettings:
    await page.change(_set(edition=Edition.BASIC.value, p2p_enabled=True))
    return page.settings(Method.ACCESS_KEY)


@case(Mistake.INSTANCE_NOT_RUNNING, "is STOPPED")
async def _stopped(page: Page) -> CloudSettings:
    await page.change(_set(status="STOPPED"))
    return page.settings(Method.ACCESS_KEY)


@case(Mistake.EDITION_UNKNOWN, "nothing else depends on it")
async def _policy_of_the_page(page: Page) -> CloudSettings:
    return page.settings(Method.RRSA)


@case(Mistake.P2P_OFF, "Step 1: P2P Acceleration of cri-aaaaaaaaaaaaaaaa is off")
async def _switch_off(page: Page) -> CloudSettings:
    await page.change(
        lambda change: instances.switch(change, INSTANCE, enable=False, confirmed=True)
    )
    return page.settings(Method.RRSA)


@case(Mistake.VPC_NOT_LINKED, "vpc-1 is not in the VPC ACL of cri-aaaaaaaaaaaaaaaa")
async def _no_link(page: Page) -> CloudSettings:
    await page.change(lambda change: instances.remove_link(change, INSTANCE, VPC))
    return page.settings(Method.WORKER_ROLE)


@case(Mistake.ENDPOINT_CREATING, "in vpc-1 is still CREATING")
async def _link_creating(page: Page) -> CloudSettings:
    await page.change(
        lambda change: change.connection.execute(update(VPC_LINK).values(status="CREATING"))
    )
    return page.settings(Method.ACCESS_KEY)


@case(Mistake.VPC_ENDPOINT_OFF, "the VPC endpoint of cri-aaaaaaaaaaaaaaaa is off")
async def _vpc_endpoint_off(page: Page) -> CloudSettings:
    await page.change(_vpc_domains(enabled=False, domains=("x.example.com",)))
    return page.settings(Method.ACCESS_KEY)


@case(Mistake.NO_DOMAINS, "no endpoint of cri-aaaaaaaaaaaaaaaa that is on has a domain")
async def _no_domains(page: Page) -> CloudSettings:
    await page.change(_vpc_domains(enabled=True, domains=("not a domain",)))
    return page.settings(Method.ACCESS_KEY)


def _vpc_domains(*, enabled: bool, domains: tuple[str, ...]) -> Callable[[Change], object]:
    return lambda change: instances.put_endpoint(
        change,
        Endpoint(
            instance_id=INSTANCE,
            kind=EndpointKind.VPC,
            enabled=enabled,
            acl_enabled=True,
            domains=domains,
            acl=(),
        ),
    )


@case(Mistake.VPC_UNKNOWN, "set vpcId to the one that reaches it (vpc-1)")
async def _no_vpc_given(page: Page) -> CloudSettings:
    settings = page.settings(Method.ACCESS_KEY)
    return replace(settings, vpc_id="", metadata_proxy="http://127.0.0.1:9")


# --- Method 1: the node's role ----------------------------------------------------------------


@case(Mistake.METADATA_ABSENT, "no metadata service gives this node a RAM role")
async def _no_metadata(page: Page) -> CloudSettings:
    settings = page.settings(Method.WORKER_ROLE)
    return replace(settings, region="cn-hangzhou", metadata_proxy="http://127.0.0.1:9")


@case(Mistake.NO_WORKER_ROLE, "knows no RAM role of this node")
async def _no_worker_role(page: Page) -> CloudSettings:
    trust = trust_of({"Service": ["other.aliyuncs.com"]})
    await page.change(
        lambda change: access.put_role(
            change, page.cloud.account, WORKER_ROLE, comment="", trust=trust, max_session_s=3600
        )
    )
    return page.settings(Method.WORKER_ROLE)


@case(Mistake.REGION_MISSING, "Step 3: region is not set")
async def _no_region(page: Page) -> CloudSettings:
    settings = page.settings(Method.ACCESS_KEY)
    return replace(settings, region="", endpoint="", metadata_proxy="http://127.0.0.1:9")


@case(Mistake.ACTION_DENIED, "may not do cr:GetInstanceVpcEndpoint: add the policy document to the")
async def _worker_role_without_policy(page: Page) -> CloudSettings:
    await page.change(
        lambda c: access.detach(c, page.cloud.account, "p2p", PrincipalKind.ROLE, WORKER_ROLE)
    )
    return page.settings(Method.WORKER_ROLE)


# --- Method 2: an access key ------------------------------------------------------------------


@case(Mistake.ACTION_DENIED, "Step 2, Method 2 (AccessKey pair): acs:ram::")
async def _user_without_policy(page: Page) -> CloudSettings:
    settings = page.settings(Method.ACCESS_KEY)
    page.write_key("nobody")
    return settings


@case(Mistake.ACTION_DENIED, "may not do cr:ListInstanceEndpoint")
async def _user_with_half_the_policy(page: Page) -> CloudSettings:
    settings = page.settings(Method.ACCESS_KEY)
    await page.change(_attach_to_nobody(page, "Allow", ["cr:GetInstanceVpcEndpoint"]))
    page.write_key("nobody")
    return settings


@case(Mistake.ACTION_DENIED, "is denied cr:GetInstanceVpcEndpoint by a Deny statement")
async def _user_with_a_deny(page: Page) -> CloudSettings:
    settings = page.settings(Method.ACCESS_KEY)
    await page.change(_attach_to_nobody(page, "Deny", ["cr:*"]))
    page.write_key("nobody")
    return settings


def _attach_to_nobody(page: Page, effect: str, actions: list[str]) -> Callable[[Change], object]:
    statement = {"Effect": effect, "Action": actions, "Resource": "*"}
    document = json.dumps({"Version": "1", "Statement": [statement]})

    def attach(change: Change) -> None:
        access.put_policy(change, page.cloud.account, "mine", comment="", document=document)
        access.attach(change, page.cloud.account, "mine", PrincipalKind.USER, "nobody")

    return attach


@case(Mistake.WRONG_SECRET, "the AccessKey secret is not that of the AccessKey ID")
async def _wrong_secret(page: Page) -> CloudSettings:
    settings = page.settings(Method.ACCESS_KEY)
    page.write_key("reader", secret="x" * 30)
    return settings


@case(Mistake.KEY_UNKNOWN, "not known or switched off")
async def _unknown_key(page: Page) -> CloudSettings:
    settings = page.settings(Method.ACCESS_KEY)
    (page.folder / "accessKey").write_text("LTAI5tnone")
    return settings


@case(Mistake.KEY_UNKNOWN, "InvalidAccessKeyId.Inactive")
async def _key_switched_off(page: Page) -> CloudSettings:
    key_id = page.cloud.keys["reader"][0]
    await page.change(
        lambda c: access.set_key_active(c, page.cloud.account, "reader", key_id, active=False)
    )
    return page.settings(Method.ACCESS_KEY)


@case(Mistake.KEY_MISSING, "accessKey: No such file or directory")
async def _no_key_files(page: Page) -> CloudSettings:
    return replace(page.settings(Method.ACCESS_KEY), access_key_dir=Path("/nonexistent"))


@case(
    Mistake.INSTANCE_UNKNOWN,
    "Step 3: there is no instance cri-none in region cn-hangzhou",
    instance="cri-none",
)
async def _unknown_instance(page: Page) -> CloudSettings:
    return page.settings(Method.ACCESS_KEY)


@case(
    Mistake.OTHER_ACCOUNT,
    "Method 1 cannot be used, so take Method 3 (RRSA), cross-account",
    instance=REMOTE,
)
async def _instance_of_another_account(page: Page) -> CloudSettings:
    return page.settings(Method.WORKER_ROLE)


@case(Mistake.CLOCK_SKEWED, "the clock of this node is off (InvalidTimeStamp.Expired")
async def _skewed_clock(page: Page) -> CloudSettings:
    page.cloud.console.changes.clock = lambda: unix_now() + 3600
    return page.settings(Method.ACCESS_KEY)


@case(Mistake.REGION_UNREACHABLE, "127.0.0.1:9 cannot be reached")
async def _nobody_answers(page: Page) -> CloudSettings:
    return replace(page.settings(Method.ACCESS_KEY), endpoint="http://127.0.0.1:9")


# --- Method 3: a pod's token ------------------------------------------------------------------


@case(Mistake.OIDC_ISSUER, "the token is of issuer https://other.example")
async def _token_of_another_issuer(page: Page) -> CloudSettings:
    settings = page.settings(Method.RRSA)
    page.write_token(iss="https://other.example")
    return settings


@case(Mistake.OIDC_AUDIENCE, "the token is for kubernetes, and has to be for sts.aliyuncs.com")
async def _token_for_another_audience(page: Page) -> CloudSettings:
    settings = page.settings(Method.RRSA)
    page.write_token(aud=["kubernetes"])
    return settings


@case(Mistake.OIDC_SUBJECT, "of service account system:serviceaccount:default:mine")
async def _token_of_another_account(page: Page) -> CloudSettings:
    settings = page.settings(Method.RRSA)
    page.write_token(sub="system:serviceaccount:default:mine")
    return settings


@case(Mistake.TOKEN_EXPIRED, "AuthenticationFail.OIDCToken.Expired")
async def _token_expired(page: Page) -> CloudSettings:
    settings = page.settings(Method.RRSA)
    page.write_token(exp=1)
    return settings


@case(Mistake.TOKEN_INVALID, "STS does not accept the pod's token")
async def _token_of_other_keys(page: Page) -> CloudSettings:
    await page.change(
        lambda change: access.put_provider(
            change,
            OidcProvider(
                account=page.cloud.account,
                name="ack-rrsa-c1",
                issuer=ISSUER,
                audiences=("sts.aliyuncs.com",),
                keys=jwks().replace('"k1"', '"k2"'),
                created_at=change.now_s,
            ),
        )
    )
    return page.settings(Method.RRSA)


@case(Mistake.TOKEN_MISSING, "enable RRSA on the cluster, and reinstall the component afterwards")
async def _no_token(page: Page) -> CloudSettings:
    return replace(page.settings(Method.RRSA), token_file=Path("/nonexistent/token"))


@case(Mistake.OIDC_PROVIDER, "there is no OIDC provider acs:ram::")
async def _no_provider(page: Page) -> CloudSettings:
    settings = page.settings(Method.RRSA)
    return replace(settings, provider_arn=f"{settings.provider_arn}x")


@case(Mistake.ROLE_NOT_TRUSTING, "replace it by the policy document")
async def _role_trusts_another_provider(page: Page) -> CloudSettings:
    trust = trust_of({"Federated": ["acs:ram::1:oidc-provider/other"]})
    await page.change(
        lambda c: access.put_role(
            c, page.cloud.account, "cluster", comment="", trust=trust, max_session_s=3600
        )
    )
    return page.settings(Method.RRSA)


@case(Mistake.ROLE_UNKNOWN, "create it, or correct rrsa.rrsaRoleARN")
async def _no_role(page: Page) -> CloudSettings:
    settings = page.settings(Method.RRSA)
    return replace(settings, role_arn=f"{settings.role_arn}x")


@case(Mistake.ACTION_DENIED, "add the policy document to the RAM role acs:ram::")
async def _role_without_policy(page: Page) -> CloudSettings:
    await page.change(
        lambda c: access.detach(c, page.cloud.account, "p2p", PrincipalKind.ROLE, "cluster")
    )
    return page.settings(Method.RRSA)


# --- Method 3, cross-account ------------------------------------------------------------------


@case(
    Mistake.ASSUME_ACCESS_MISSING,
    "attach the system policy AliyunSTSAssumeRoleAccess to it",
    instance=REMOTE,
)
async def _no_assume_role_access(page: Page) -> CloudSettings:
    await page.change(
        lambda c: access.detach(
            c, page.cloud.account, "AliyunSTSAssumeRoleAccess", PrincipalKind.ROLE, "cluster"
        )
    )
    return page.across()


@case(Mistake.ROLE_NOT_TRUSTING, "replace its trust policy by the policy document", instance=REMOTE)
async def _other_role_does_not_trust(page: Page) -> CloudSettings:
    trust = trust_of({"RAM": ["acs:ram::1:role/other"]})
    await page.change(
        lambda c: access.put_role(
            c, page.cloud.other_account, "registry", comment="", trust=trust, max_session_s=43_200
        )
    )
    return page.across()


@case(Mistake.ROLE_UNKNOWN, "create it, or correct rrsa.assumeRoleARN", instance=REMOTE)
async def _no_other_role(page: Page) -> CloudSettings:
    settings = page.across()
    return replace(settings, assume_role_arn=f"{settings.assume_role_arn}x")


@case(
    Mistake.DURATION_TOO_LONG,
    "rrsa.expireDuration is 43200 s, longer than the MaxSession",
    instance=REMOTE,
)
async def _session_too_long(page: Page) -> CloudSettings:
    trust = trust_of({"RAM": [page.cloud.arn("cluster")]})
    await page.change(
        lambda c: access.put_role(
            c, page.cloud.other_account, "registry", comment="", trust=trust, max_session_s=3600
        )
    )
    return replace(page.across(), expire_s=43_200)


@case(Mistake.ACTION_DENIED, "may not do cr:GetInstanceVpcEndpoint", instance=REMOTE)
async def _other_role_without_policy(page: Page) -> CloudSettings:
    other = page.cloud.other_account
    await page.change(lambda c: access.detach(c, other, "p2p", PrincipalKind.ROLE, "registry"))
    return page.across()


@case(Mistake.INSTANCE_UNKNOWN, "Step 3: there is no instance cri-aaaa", instance=INSTANCE)
async def _instance_not_of_the_assumed_roles_account(page: Page) -> CloudSettings:
    return page.across()


@pytest.mark.parametrize("name", list(CASES))
async def test_a_step_that_was_forgotten_is_named(page: Page, name: str) -> None:
    wrong = CASES[name]
    told = await advice_after(page, await wrong.arrange(page), wrong.instance)
    found = next((one for one in told if one.mistake is wrong.mistake), None)
    assert found is not None, told
    assert wrong.words in found.sentence
    assert found.sentence.startswith(f"{found.step}: ")
    for secret in (secret for _, secret in page.cloud.keys.values()):
        assert secret not in found.sentence


async def test_what_the_documents_say_mends_it(page: Page) -> None:
    issuer, provider = ISSUER, page.cloud.provider
    for name, lacking in (
        ("user_without_policy", lacking_permissions),
        (
            "token_of_another_account",
            lambda d: lacking_trust(d, provider_arn=provider, issuer=issuer),
        ),
        (
            "other_role_does_not_trust",
            lambda d: lacking_trust_in_role(d, role_arn=page.cloud.arn("cluster")),
        ),
    ):
        told = await advice_after(page, await CASES[name].arrange(page))
        assert told[0].document, name
        assert lacking(told[0].document) == (), name


async def _answering(status: int, body: object, headers: dict[str, str]) -> web.AppRunner:
    async def answer(request: web.Request) -> web.Response:
        del request
        return web.Response(
            status=status, text=body if isinstance(body, str) else json.dumps(body), headers=headers
        )

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app, shutdown_timeout=1.0)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    return runner


# Those that are made elsewhere, and by which test.
ELSEWHERE = {
    Mistake.SWITCH_UNKNOWN: "test_lookup.py: a_switch_that_may_not_be_asked_is_unknown",
    Mistake.ASSUME_DENIED: "core/cloud/test_explain.py: the cloud does not say which policy",
    Mistake.NODE_CANNOT_REACH_NODE: "cli/doctoring/test_checks.py",
    Mistake.NODE_CANNOT_REACH_REGISTRY: "cli/doctoring/test_checks.py",
}
ANSWERED: tuple[tuple[int, object, dict[str, str], Mistake], ...] = (
    (400, {"Code": "Throttling.User"}, {}, Mistake.THROTTLED),
    (400, {"Code": "Throttling"}, {"x-acs-retry-after": "5"}, Mistake.THROTTLED),
    (503, {"Code": "ServiceUnavailable"}, {}, Mistake.CLOUD_FAILED),
    (502, "<html>", {}, Mistake.CLOUD_FAILED),
    (200, {"Code": "INSTANCE_NOT_EXIST", "IsSuccess": False}, {}, Mistake.INSTANCE_UNKNOWN),
    (403, {"Code": "Forbidden.RAM", "Message": "no"}, {}, Mistake.ACTION_DENIED),
    (400, {"Code": "SomethingElse", "Message": "x"}, {}, Mistake.OTHER),
)


@pytest.mark.parametrize(("status", "body", "headers", "mistake"), ANSWERED)
async def test_what_a_console_does_not_answer_is_told_as_well(
    page: Page, status: int, body: object, headers: dict[str, str], mistake: Mistake
) -> None:
    runner = await _answering(status, body, headers)
    try:
        settings = replace(
            page.settings(Method.ACCESS_KEY),
            endpoint=f"http://127.0.0.1:{runner.addresses[0][1]}",
        )
        told = await advice_after(page, settings)
    finally:
        await runner.cleanup()
    assert [one.mistake for one in told] == [mistake]


def test_there_is_a_way_to_make_every_mistake() -> None:
    made = {case.mistake for case in CASES.values()} | {row[-1] for row in ANSWERED}
    assert set(Mistake) - made == ELSEWHERE.keys()
