"""Registries from the cloud: what it says of the instances, as the set-up takes it."""

from collections.abc import Sequence
from typing import Protocol

from shoal.adapters.cloud.lookup import AcrLookup, LookedUp
from shoal.adapters.cloud.settings import CloudSettings
from shoal.core.cloud.lookup import Switch, may_share
from shoal.core.console.chart_values import Method
from shoal.setup.cluster.installation import Installation
from shoal.setup.cluster.lookup import Registries


class Instances(Protocol):
    """What is asked of the cloud; `AcrLookup` is the real one."""

    async def look_up(self, instance_ids: Sequence[str]) -> LookedUp:
        """Return what there is to know of instances."""
        ...

    async def switch(self, instance_id: str) -> Switch:
        """Return an instance's switch."""
        ...


class CloudLookup:
    """The registries of instances."""

    def __init__(self, cloud: Instances, instances: Sequence[str]) -> None:
        """Ask `cloud` for `instances`."""
        self._cloud = cloud
        self._instances = tuple(instances)

    async def look_up(self) -> Registries:
        """Return the domains of all instances.

        Raises:
            CloudFailed: nothing could be asked.
        """
        found = await self._cloud.look_up(self._instances)
        blocking = found.blocking
        return Registries(
            names=tuple(domain.name for domain in found.domains),
            may_share=may_share(found.switches.values()),
            remarks=(
                *(f"{domain.name}, {domain.why}" for domain in found.domains),
                *(one.sentence for one in found.advice if not one.blocks),
            ),
            refusal=blocking[0].sentence if blocking else "",
        )

    async def may_share(self) -> bool:
        """Return whether the switch of every instance is on; one that is not known counts as on.

        Raises:
            CloudFailed: a switch could not be asked.
        """
        switches = [await self._cloud.switch(id_) for id_ in self._instances]
        return may_share(switches)


def lookup_of(installation: Installation) -> CloudLookup:
    """Return the look-up of an installation, whose method is not `none`."""
    settings = CloudSettings(
        method=Method(installation.method),
        region=installation.region,
        vpc_id=installation.vpc_id,
        role_arn=installation.rrsa.role_arn,
        provider_arn=installation.rrsa.oidc_provider_arn,
        assume_role_arn=installation.rrsa.assume_role_arn,
        expire_s=installation.rrsa.expire_s,
    )
    return CloudLookup(AcrLookup(settings), installation.instances)
