"""From instance ids to the registry domains that agents accelerate, and what is in the way.

The set-up Job looks once. The controller looks again: for the switch every 30 s, for the rest every
hour, so that a new domain or a moved endpoint reaches the agents without a reinstall.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from shoal.adapters.cloud import metadata, sdk
from shoal.adapters.cloud.credentials import Refresher, Source
from shoal.adapters.cloud.registry import RegistryApi
from shoal.adapters.cloud.settings import CloudSettings
from shoal.adapters.cloud.sources import source_of
from shoal.core.cloud.explain import explain
from shoal.core.cloud.failures import (
    INSTALL_STEP,
    Advice,
    Attempt,
    CloudFailed,
    Mistake,
)
from shoal.core.cloud.lookup import (
    UNKNOWN_SWITCH,
    Answers,
    RegistryDomain,
    Switch,
    advice_on,
    domains_of,
)

# Throttled calls are made again this often, after what the cloud says or this long.
TRIES = 3
PAUSE_S = 1.0
MAX_PAUSE_S = 10.0

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class LookedUp:
    """What a look at all instances came to."""

    region: str
    vpc_id: str
    domains: tuple[RegistryDomain, ...]
    switches: Mapping[str, Switch]  # by instance id, of those that could be asked
    advice: tuple[Advice, ...]

    @property
    def blocking(self) -> tuple[Advice, ...]:
        """What has to be mended before everything that was asked for is accelerated."""
        return tuple(one for one in self.advice if one.blocks)


class AcrLookup:
    """Looks up instances, with credentials that are kept for the next time."""

    def __init__(
        self,
        settings: CloudSettings,
        *,
        source: Source | None = None,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """Prepare; nothing is asked yet.

        Args:
            settings: how to ask.
            source: where credentials come from; None: where the settings' method says.
            pause: waits for so many seconds before a throttled call is made again.
        """
        self._given = settings
        self._refresher = Refresher(source or source_of(settings))
        self._pause = pause
        self._known: tuple[CloudSettings, Attempt] | None = None

    async def look_up(self, instance_ids: Sequence[str]) -> LookedUp:
        """Return the domains of all instances, and what is wrong with any.

        Raises:
            CloudFailed: nothing could be asked: no credentials, or no region.
        """
        settings, attempt = await self._completed()
        await self._refresher.credentials()
        domains: dict[str, RegistryDomain] = {}
        switches: dict[str, Switch] = {}
        advice: list[Advice] = []
        for id_ in instance_ids:
            this = replace(attempt, instance_id=id_)
            try:
                answers = await self._ask(RegistryApi(settings, self._refresher), this)
            except CloudFailed as failed:
                advice.append(failed.advice)
                continue
            switches[id_] = answers.switch
            advice += advice_on(answers, this)
            for domain in domains_of(answers):
                domains.setdefault(domain.name, domain)
        return LookedUp(
            region=settings.region,
            vpc_id=settings.vpc_id,
            domains=tuple(domains.values()),
            switches=switches,
            advice=tuple(advice),
        )

    async def switch(self, instance_id: str) -> Switch:
        """Return an instance's switch; unknown where this credential may not ask.

        Raises:
            CloudFailed: it could not be asked.
        """
        settings, attempt = await self._completed()
        return await self._switch(
            RegistryApi(settings, self._refresher), replace(attempt, instance_id=instance_id)
        )

    async def report(self, instance_id: str, component: Mapping[str, str]) -> Switch:
        """Tell the instance's console what runs here; return whether it may share.

        Raises:
            CloudFailed: it could not be told.
        """
        settings, attempt = await self._completed()
        api = RegistryApi(settings, self._refresher)
        return await self._patiently(
            lambda: api.report(instance_id, component), replace(attempt, instance_id=instance_id)
        )

    async def _completed(self) -> tuple[CloudSettings, Attempt]:
        """Return the settings with what was left to the cluster, asked once."""
        if self._known is not None:
            return self._known
        facts: Mapping[str, str] = {}
        if not (self._given.region and self._given.vpc_id):
            facts = await metadata.node_facts(self._given)
        settings = replace(
            self._given,
            region=self._given.region or facts.get(metadata.REGION, ""),
            vpc_id=self._given.vpc_id or facts.get(metadata.VPC, ""),
        )
        attempt = replace(settings.attempt(), account=facts.get(metadata.ACCOUNT, ""))
        if not (settings.region or settings.endpoint):  # a console's address has no region in it
            raise CloudFailed(_region_missing())
        self._known = settings, attempt
        return self._known

    async def _ask(self, api: RegistryApi, attempt: Attempt) -> Answers:
        id_ = attempt.instance_id
        # First what the documentation's policy allows: who may not ask even that is told so.
        vpc = await self._patiently(lambda: api.vpc_endpoint(id_), attempt)
        ways = await self._patiently(lambda: api.endpoints(id_), attempt)
        try:
            described = await self._patiently(lambda: api.describe(id_), attempt)
        except CloudFailed as failed:
            if failed.advice.mistake is not Mistake.ACTION_DENIED:
                raise
            described = None
        switch = await self._switch(api, attempt)
        return Answers(instance_id=id_, described=described, switch=switch, vpc=vpc, ways=ways)

    async def _switch(self, api: RegistryApi, attempt: Attempt) -> Switch:
        try:
            return await self._patiently(lambda: api.switch(attempt.instance_id), attempt)
        except CloudFailed as failed:
            if failed.advice.mistake is not Mistake.ACTION_DENIED:
                raise
            return UNKNOWN_SWITCH

    async def _patiently(self, ask: Callable[[], Awaitable[T]], attempt: Attempt) -> T:
        for tries_left in reversed(range(TRIES)):
            try:
                return await ask()
            except sdk.CallFailed as failed:
                advice = explain(failed.failure, attempt)
                if advice.mistake is not Mistake.THROTTLED or not tries_left:
                    raise CloudFailed(advice, failed.failure) from None
                pause_s = failed.failure.retry_after_s or PAUSE_S
            await self._pause(min(pause_s, MAX_PAUSE_S))
        raise AssertionError("the last try returns or raises")


def _region_missing() -> Advice:
    return Advice(
        mistake=Mistake.REGION_MISSING,
        step=INSTALL_STEP,
        sentence=f"{INSTALL_STEP}: region is not set, and no metadata service tells the cluster's: "
        "set region to the instance's, and vpcId to the VPC that is linked to it.",
    )
