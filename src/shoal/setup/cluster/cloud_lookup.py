"""Registries from the cloud: what it says of the instances, as the set-up takes it."""

import os
from collections.abc import Mapping, Sequence
from typing import Protocol

from shoal import __version__
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

    async def report(self, instance_id: str, component: Mapping[str, str]) -> Switch:
        """Tell a console what runs here; return whether it may share."""
        ...


class CloudLookup:
    """The registries of instances."""

    def __init__(
        self,
        cloud: Instances,
        instances: Sequence[str],
        *,
        component: Mapping[str, str] | None = None,
        installing: bool = False,
    ) -> None:
        """Ask `cloud` for `instances`.

        Args:
            cloud: who is asked.
            instances: IDs.
            component: what a console is told of this cluster; None: nobody is told.
            installing: whether this is the installation, and no later report.
        """
        self._cloud = cloud
        self._instances = tuple(instances)
        self._component = component
        self._installing = installing

    async def look_up(self) -> Registries:
        """Return the domains of all instances.

        Raises:
            CloudFailed: nothing could be asked.
        """
        found = await self._cloud.look_up(self._instances)
        blocking = found.blocking
        switches = list(found.switches.values())
        if self._installing and not blocking:
            switches = await self._switches()
        return Registries(
            names=tuple(domain.name for domain in found.domains),
            may_share=may_share(switches),
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
        return may_share(await self._switches())

    async def uninstalled(self) -> None:
        """Tell the console, if it is told anything, that the component is gone.

        Raises:
            CloudFailed: it could not be told.
        """
        if self._component is not None:
            for id_ in self._instances:
                await self._cloud.report(id_, {**self._component, "Uninstalled": "true"})

    async def _switches(self) -> list[Switch]:
        if self._component is None:
            return [await self._cloud.switch(id_) for id_ in self._instances]
        said = {**self._component, **({"Installed": "true"} if self._installing else {})}
        # A console's answer counts for this cluster: it may have to be installed anew.
        return [await self._cloud.report(id_, said) for id_ in self._instances]


def lookup_of(
    installation: Installation,
    *,
    installing: bool = False,
    environment: Mapping[str, str] = os.environ,
) -> CloudLookup:
    """Return the look-up of an installation, whose method is not `none`.

    Args:
        installation: what the chart says.
        installing: whether this is the set-up Job.
        environment: SHOAL_CLOUD_ENDPOINT and others, where a console is asked instead of the
            cloud; with SHOAL_CLOUD_CLUSTER, the cluster's ID, it is told what runs here.
    """
    settings = CloudSettings(
        method=Method(installation.method),
        region=installation.region,
        vpc_id=installation.vpc_id,
        role_arn=installation.rrsa.role_arn,
        provider_arn=installation.rrsa.oidc_provider_arn,
        assume_role_arn=installation.rrsa.assume_role_arn,
        expire_s=installation.rrsa.expire_s,
    ).asked_at(environment)
    cluster_id = environment.get("SHOAL_CLOUD_CLUSTER", "")
    component = {
        "ClusterId": cluster_id,
        "ComponentVersion": __version__,
        "Method": installation.method,
    }
    return CloudLookup(
        AcrLookup(settings),
        installation.instances,
        component=component if settings.endpoint and cluster_id else None,
        installing=installing,
    )
