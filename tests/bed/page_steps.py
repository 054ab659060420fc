"""The steps of the documentation's page that a way to authenticate takes, each to be forgotten."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from shoal.adapters.cloud.settings import CloudSettings
from shoal.control.store import access, instances
from shoal.control.store.changes import Change
from shoal.core.console.chart_values import Method
from shoal.core.console.documents import trust_document
from shoal.core.console.models import LinkStatus, PrincipalKind
from unit.adapters.cloud.page import (
    DOMAIN,
    REMOTE_DOMAIN,
    VPC,
    WORKER_ROLE,
    Page,
    link,
    trust_of,
)
from unit.control.api.served_cloud import INSTANCE, ISSUER, REMOTE

EXPIRE_S = 7200


@dataclass(frozen=True, slots=True)
class Step:
    """One step: what undoes it, what is said then, and what does it again."""

    forget: Callable[[Change], object]
    said: str
    do: Callable[[Change], object]


@dataclass(frozen=True, slots=True)
class Way:
    """One of the page's ways to authenticate: its steps before those that all have."""

    method: Method
    settings: Callable[[Page], CloudSettings]
    values: Callable[[Page], dict[str, Any]]
    steps: Callable[[Page], list[Step]]
    instance: str = INSTANCE
    domain: str = DOMAIN  # of its VPC endpoint

    def switch(self, *, enable: bool, forced: bool = False) -> Callable[[Change], object]:
        """Turn P2P Acceleration of its instance on or off, as somebody does who confirms it."""
        return lambda change: instances.switch(
            change, self.instance, enable=enable, confirmed=True, forced=forced
        )


def steps_of(way: Way, page: Page) -> list[Step]:
    """Return a way's steps, in the order in which one who follows what is said does them."""
    vpc = Step(
        lambda change: instances.remove_link(change, way.instance, VPC),
        f"{VPC} is not in the VPC ACL of {way.instance}",
        lambda change: instances.add_link(change, link(way.instance, LinkStatus.RUNNING)),
    )
    switch = Step(
        way.switch(enable=False),
        f"Step 1: P2P Acceleration of {way.instance} is off",
        way.switch(enable=True),
    )
    return [*way.steps(page), vpc, switch]


def _account_of(page: Page, role: str) -> str:
    return page.cloud.other_account if role == "registry" else page.cloud.account


def _attached(page: Page, policy: str, role: str, said: str) -> Step:
    account = _account_of(page, role)
    return Step(
        lambda change: access.detach(change, account, policy, PrincipalKind.ROLE, role),
        said,
        lambda change: access.attach(change, account, policy, PrincipalKind.ROLE, role),
    )


def _with_trust(
    page: Page, role: str, trust: str, *, longest_s: int = 3600
) -> Callable[[Change], object]:
    account = _account_of(page, role)
    return lambda change: access.put_role(
        change, account, role, comment="", trust=trust, max_session_s=longest_s
    )


def _trusting(page: Page, role: str, trust: str, said: str) -> Step:
    nobody = trust_of({"Service": ["other.aliyuncs.com"]})
    return Step(_with_trust(page, role, nobody), said, _with_trust(page, role, trust))


def _worker_role(page: Page) -> list[Step]:
    ecs = trust_of({"Service": ["ecs.aliyuncs.com"]})
    return [
        _trusting(page, WORKER_ROLE, ecs, "knows no RAM role of this node"),
        _attached(page, "p2p", WORKER_ROLE, "may not do cr:GetInstanceVpcEndpoint"),
    ]


def _access_key(page: Page) -> list[Step]:
    key_id = page.cloud.keys["reader"][0]
    account = page.cloud.account
    policy = "AliyunContainerRegistryReadOnlyAccess"

    def active(is_on: bool) -> Callable[[Change], object]:
        return lambda change: access.set_key_active(change, account, "reader", key_id, active=is_on)

    return [
        Step(active(False), "InvalidAccessKeyId.Inactive", active(True)),
        Step(
            lambda change: access.detach(change, account, policy, PrincipalKind.USER, "reader"),
            "Step 2, Method 2 (AccessKey pair): acs:ram::",
            lambda change: access.attach(change, account, policy, PrincipalKind.USER, "reader"),
        ),
    ]


def _pod_role(page: Page) -> Step:
    trust = trust_document(provider_arn=page.cloud.provider, issuer=ISSUER)
    return _trusting(page, "cluster", trust, "replace it by the policy document")


def _rrsa(page: Page) -> list[Step]:
    permission = _attached(
        page, "p2p", "cluster", "add the policy document to the RAM role acs:ram::"
    )
    return [_pod_role(page), permission]


def _across(page: Page) -> list[Step]:
    nobody = trust_of({"RAM": [page.cloud.arn("other")]})
    trust = trust_of({"RAM": [page.cloud.arn("cluster")]})
    untrusted = _with_trust(page, "registry", nobody)
    trusted = _with_trust(page, "registry", trust)
    untrusting = "replace its trust policy by the policy document"
    too_long = f"rrsa.expireDuration is {EXPIRE_S} s, longer than the MaxSession"
    return [
        _pod_role(page),
        _attached(
            page, "AliyunSTSAssumeRoleAccess", "cluster", "attach the system policy AliyunSTS"
        ),
        Step(untrusted, untrusting, trusted),
        Step(untrusted, too_long, _with_trust(page, "registry", trust, longest_s=43_200)),
        _attached(page, "p2p", "registry", "may not do cr:GetInstanceVpcEndpoint"),
    ]


def _place() -> dict[str, Any]:
    return {"region": "cn-hangzhou", "vpcId": VPC}


def _key_values(page: Page) -> dict[str, Any]:
    key_id, secret = page.cloud.keys["reader"]
    return {"acrInstances": INSTANCE, "accessKey": key_id, "accessKeySecret": secret} | _place()


def _rrsa_values(page: Page, *, instance: str = INSTANCE, **more: Any) -> dict[str, Any]:
    rrsa = {
        "enable": True,
        "rrsaRoleARN": page.cloud.arn("cluster"),
        "rrsaOIDCProviderRoleARN": page.cloud.provider,
        **more,
    }
    return {"registryInstances": instance, "rrsa": rrsa} | _place()


WAYS = {
    "worker RAM role": Way(
        Method.WORKER_ROLE,
        lambda page: page.settings(Method.WORKER_ROLE),
        lambda _: {"acrInstances": INSTANCE},
        _worker_role,
    ),
    "AccessKey": Way(
        Method.ACCESS_KEY,
        lambda page: page.settings(Method.ACCESS_KEY),
        _key_values,
        _access_key,
    ),
    "RRSA": Way(Method.RRSA, lambda page: page.settings(Method.RRSA), _rrsa_values, _rrsa),
    "RRSA across accounts": Way(
        Method.RRSA,
        Page.across,
        lambda page: _rrsa_values(
            page,
            instance=REMOTE,
            assumeRoleARN=page.cloud.arn("registry"),
            expireDuration=EXPIRE_S,
        ),
        _across,
        REMOTE,
        REMOTE_DOMAIN,
    ),
}
