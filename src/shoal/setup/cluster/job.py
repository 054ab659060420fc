"""The set-up Job: looks whether Shoal can run here, and makes what the pods wait for.

Each step is safe to repeat: the Job runs again after a failure, at every upgrade, and by hand.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from shoal.adapters.kube.api import ACCOUNT_DIR, KubeAccess, KubeConnection, connected
from shoal.adapters.kube.patience import persist
from shoal.setup.cluster.agent_settings import SETTINGS, agent_data
from shoal.setup.cluster.authority import make_authority
from shoal.setup.cluster.installation import Installation
from shoal.setup.cluster.lookup import Registries, RegistryLookup
from shoal.setup.cluster.node_pools import read_nodes, read_pools
from shoal.setup.cluster.pools import EVERY_NODE, Sites, decide
from shoal.setup.cluster.prerequisites import (
    RRSA_TOKEN,
    check_permissions,
    check_rrsa,
    check_version,
    token_issuer,
)
from shoal.setup.cluster.steps import StepFailed, step
from shoal.setup.cluster.upkeep import read_written, write
from shoal.setup.cluster.webhook_setup import set_up_webhook
from shoal.setup.names import AGENT_SETTINGS, AUTHORITY

POOLS_STEP = "Node pools"
LOOKUP_STEP = "Registry look-up"
AUTHORITY_STEP = f"Secret {AUTHORITY}"
SETTINGS_STEP = f"ConfigMap {AGENT_SETTINGS}"
WEBHOOK_STEP = "Webhook"

# The chart ends the Job after 280 s: so long an API server's upgrade may last.
_PATIENCE_S = 120.0


@dataclass(frozen=True, slots=True, kw_only=True)
class JobTools:
    """What the Job works with, so that tests can give it other things."""

    access: KubeAccess
    lookup: RegistryLookup
    check_settings: Callable[[str], None]
    """Raises SettingsError if a text is not settings that an agent takes."""
    say: Callable[[str], None]
    """Takes lines for whoever reads the Job's log."""
    rrsa_token: Path = RRSA_TOKEN
    account_dir: Path = ACCOUNT_DIR
    patience_s: float = _PATIENCE_S


async def run_job(installation: Installation, tools: JobTools) -> None:
    """Set up.

    Raises:
        StepFailed: a step could not be done; its sentence says what to do.
    """
    async with connected(tools.access, most=4) as kube:
        job = _Job(installation, tools, kube)
        await job.check()
        sites = await job.sites()
        registries = await job.registries()
        await job.make(sites, registries)


@dataclass(slots=True)
class _Job:
    installation: Installation
    tools: JobTools
    kube: KubeConnection
    issuer: str = ""

    async def check(self) -> None:
        say, kube, limit_s = self.tools.say, self.kube, self.tools.patience_s
        async with step("Prerequisite API server"):
            version = await persist(lambda: check_version(kube), limit_s=limit_s)
            say(f"Kubernetes {version}")
            await persist(lambda: check_permissions(kube, self.installation), limit_s=limit_s)
            say("permissions: all that is needed")
            written = await persist(lambda: read_written(kube, self.installation), limit_s=limit_s)
        self.issuer = check_rrsa(
            self.installation,
            token=self.tools.rrsa_token,
            recorded_issuer=written.issuer if written else "",
        ) or token_issuer(self.tools.account_dir / "token")
        if self.installation.method == "rrsa":
            say(f"RRSA: tokens are issued by {self.issuer}")

    async def sites(self) -> Sites:
        async with step(POOLS_STEP):
            pools = await persist(lambda: read_pools(self.kube), limit_s=self.tools.patience_s)
            nodes = await persist(lambda: read_nodes(self.kube), limit_s=self.tools.patience_s)
        sites = decide(
            nodes, pools, only=self.installation.node_pool, all_nodes=self.installation.all_nodes
        )
        if sites.refusal:
            raise StepFailed(POOLS_STEP, sites.refusal)
        for line in (*_told(sites.by_node), *sites.remarks):
            self.tools.say(f"sites: {line}")
        return sites

    async def registries(self) -> Registries:
        async with step(LOOKUP_STEP):
            found = await self.tools.lookup.look_up()
        if found.refusal:
            raise StepFailed(LOOKUP_STEP, found.refusal)
        for remark in found.remarks:
            self.tools.say(f"registries: {remark}")
        return found

    async def make(self, sites: Sites, registries: Registries) -> None:
        installation, kube, limit_s = self.installation, self.kube, self.tools.patience_s
        async with step(AUTHORITY_STEP):
            authority = await persist(
                lambda: make_authority(kube, installation.namespace), limit_s=limit_s
            )
        self.tools.say(f"authority: {authority.certificate.name}")
        async with step(SETTINGS_STEP):
            data = agent_data(installation, registries, sites, authority=authority)
            self.tools.check_settings(data[SETTINGS])
            written = await persist(
                lambda: write(kube, installation, data, issuer=self.issuer), limit_s=limit_s
            )
        self.tools.say(f"ConfigMap {AGENT_SETTINGS}: {'written' if written else 'as it should be'}")
        if installation.webhook:
            async with step(WEBHOOK_STEP):
                await persist(
                    lambda: set_up_webhook(kube, installation, authority, now=datetime.now(UTC)),
                    limit_s=limit_s,
                )
            self.tools.say("webhook: certificate made, and trusted by the API server")


def _told(by_node: Mapping[str, str]) -> list[str]:
    if EVERY_NODE in by_node:
        return [f"all nodes are {by_node[EVERY_NODE]!r}"]
    counts: dict[str, int] = {}
    for site in by_node.values():
        counts[site] = counts.get(site, 0) + 1
    return [f"{site!r} has {count} nodes" for site, count in sorted(counts.items())]
