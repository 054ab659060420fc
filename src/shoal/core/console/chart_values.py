"""The Parameters panel of the chart: what is wrong with a choice, and the values it makes."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from shoal.core.console.fields import version_numbers
from shoal.core.console.models import (
    Cluster,
    Endpoint,
    EndpointKind,
    Instance,
    InstanceStatus,
    LinkStatus,
    NodePool,
    PoolKind,
    Role,
    VpcLink,
    account_of,
)
from shoal.core.console.switch import EDITIONS_WITH_P2P

CHART = "ack-acr-acceleration-p2p"
NAMESPACE = "aliyun-acr-acceleration"
DEFAULT_PORT = 65001
# Source: the component's documentation, prerequisites.
LOWEST_EDGE_VERSION = (1, 26, 3)
LOWEST_RRSA_VERSION = (1, 22, 0)


class Method(StrEnum):
    """How the component authenticates."""

    WORKER_ROLE = "worker-role"
    ACCESS_KEY = "access-key"
    RRSA = "rrsa"


class Severity(StrEnum):
    """Whether a finding stops the installation."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, slots=True)
class Finding:
    """Something about a choice: the field it is about, and what to do."""

    field: str
    severity: Severity
    message: str
    fix: str = ""  # a page of the console that mends it


@dataclass(frozen=True, slots=True)
class Parameters:
    """What was chosen. Empty texts are left to the chart's defaults."""

    method: Method
    release: str
    namespace: str
    region: str
    vpc_id: str
    pool_id: str
    port: int
    access_key: str = ""
    role_arn: str = ""
    provider_arn: str = ""
    assume_role_arn: str = ""
    expire_s: int = 3600


@dataclass(frozen=True, slots=True)
class InstanceFacts:
    """What the console knows of one chosen instance."""

    instance: Instance
    endpoints: Sequence[Endpoint]
    links: Sequence[VpcLink]


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the choice is judged against.

    `roles` are those of all accounts by ARN, `key_accounts` the accounts of access keys by id.
    """

    cluster: Cluster
    pools: Sequence[NodePool]
    instances: Sequence[InstanceFacts]
    roles: Mapping[str, Role]
    provider_arns: Sequence[str]
    key_accounts: Mapping[str, str]


def findings(chosen: Parameters, around: Surroundings) -> tuple[Finding, ...]:
    """Return what stands in the way of `chosen`, errors first."""
    found = [*_of_cluster(chosen, around), *_of_pool(chosen, around)]
    if not around.instances:
        found.append(_error("instances", "Choose at least one instance."))
    for facts in around.instances:
        found += _of_instance(chosen, facts, around.cluster)
        found += _of_account(chosen, facts.instance, around)
    if chosen.method is Method.RRSA:
        found += _of_rrsa(chosen, around)
    if chosen.method is Method.ACCESS_KEY and not chosen.access_key:
        found.append(_error("access_key", "Enter the id of a RAM user's access key."))
    return tuple(sorted(found, key=lambda finding: finding.severity))


def _error(field: str, message: str, fix: str = "") -> Finding:
    return Finding(field, Severity.ERROR, message, fix)


def _of_cluster(chosen: Parameters, around: Surroundings) -> Iterator[Finding]:
    cluster = around.cluster
    page = f"/console/clusters/{cluster.id}"
    if cluster.edge and version_numbers(cluster.version) < LOWEST_EDGE_VERSION:
        yield _error(
            "cluster",
            f"{cluster.name} runs Kubernetes {cluster.version}; an ACK Edge cluster has to run "
            "1.26.3 or later. Upgrade it.",
            page,
        )
    if chosen.method is Method.RRSA and version_numbers(cluster.version) < LOWEST_RRSA_VERSION:
        yield _error("cluster", "RRSA takes Kubernetes 1.22 or later.", page)


def _of_pool(chosen: Parameters, around: Surroundings) -> Iterator[Finding]:
    if not chosen.pool_id:
        lonely = [
            pool.name
            for pool in around.pools
            if pool.kind is PoolKind.EDGE and not pool.interconnected
        ]
        if lonely:
            yield Finding(
                "pool_id",
                Severity.WARNING,
                f"Nodes of {', '.join(lonely)} cannot reach each other: there every agent is a "
                "cache of its own, and nothing is shared.",
                f"/console/clusters/{around.cluster.id}",
            )
        return
    pool = next((pool for pool in around.pools if pool.id == chosen.pool_id), None)
    page = f"/console/clusters/{around.cluster.id}"
    if pool is None:
        yield _error("pool_id", f"{around.cluster.name} has no node pool {chosen.pool_id}.", page)
    elif pool.kind is PoolKind.EDGE and not (pool.dedicated and pool.interconnected):
        yield _error(
            "pool_id",
            f"{pool.name} has to be a cloud node pool, or a dedicated edge node pool with "
            "inter-node connection enabled.",
            page,
        )


def _of_instance(chosen: Parameters, facts: InstanceFacts, cluster: Cluster) -> Iterator[Finding]:
    instance = facts.instance
    page = f"/console/instances/{instance.id}"
    if instance.edition not in EDITIONS_WITH_P2P:
        yield _error(
            "instances",
            f"{instance.name} is {instance.edition.label} edition; P2P takes Standard or Advanced.",
            page,
        )
    elif not instance.p2p_enabled:
        yield _error("instances", f"P2P Acceleration of {instance.name} is off (step 1).", page)
    if instance.status is not InstanceStatus.RUNNING:
        yield _error("instances", f"{instance.name} is {instance.status}, not RUNNING.", page)
    region = chosen.region or cluster.region
    if region != instance.region:
        yield _error(
            "region",
            f"{instance.name} is in {instance.region}: set region to it, and vpcId to the VPC "
            "that is linked to the instance.",
        )
    vpc = chosen.vpc_id or cluster.vpc_id
    link = next((link for link in facts.links if link.vpc_id == vpc), None)
    if link is None:
        yield _error(
            "vpc_id",
            f"{vpc} is not in the VPC ACL of {instance.name}.",
            f"{page}/network",
        )
    elif link.status is LinkStatus.CREATING:
        yield _error("vpc_id", f"The link of {vpc} is still CREATING: try again in a minute.")
    if not any(one.kind is EndpointKind.VPC and one.enabled for one in facts.endpoints):
        yield _error("instances", f"{instance.name}: its VPC endpoint is off.", f"{page}/network")


def _of_account(chosen: Parameters, instance: Instance, around: Surroundings) -> Iterator[Finding]:
    mend = "take RRSA, and for rrsa.assumeRoleARN a role of that account."
    if chosen.method is Method.WORKER_ROLE:
        who, account = "the worker RAM role", around.cluster.account
    elif chosen.method is Method.RRSA:
        who = chosen.assume_role_arn or chosen.role_arn
        account = account_of(who)
    else:
        who, account = "the access key", around.key_accounts.get(chosen.access_key, "")
        mend = "take a key of that account's."
    if account and account != instance.account:
        yield _error(
            "instances",
            f"{instance.name} belongs to account {instance.account}, and {who} to account "
            f"{account}: {mend}",
        )


def _of_rrsa(chosen: Parameters, around: Surroundings) -> Iterator[Finding]:
    if not around.cluster.rrsa_enabled:
        yield _error(
            "cluster",
            f"RRSA of {around.cluster.name} is off. Enable it before the component is installed: "
            "the other way round, the component has to be reinstalled.",
            f"/console/clusters/{around.cluster.id}",
        )
    if not chosen.role_arn:
        yield _error("role_arn", "Enter the role that the component's pods assume.")
    elif chosen.role_arn not in around.roles:
        yield Finding(
            "role_arn",
            Severity.WARNING,
            "No account of this console has such a role.",
            "/console/access/roles",
        )
    if not chosen.provider_arn:
        yield _error("provider_arn", "Enter the cluster's OIDC provider.")
    elif chosen.provider_arn not in around.provider_arns:
        yield Finding(
            "provider_arn",
            Severity.WARNING,
            "No account of this console has such an OIDC provider.",
            "/console/access/oidc",
        )
    if not chosen.assume_role_arn:
        return
    role = around.roles.get(chosen.assume_role_arn)
    if role is not None and chosen.expire_s > role.max_session_s:
        yield _error(
            "expire_s",
            f"{chosen.expire_s} s is longer than the MaxSessionDuration of {role.name}, "
            f"{role.max_session_s} s: lower this or raise that.",
            f"/console/access/roles/{role.name}",
        )


def values_yaml(
    chosen: Parameters, instance_ids: Sequence[str], *, cluster: Cluster, console_url: str
) -> str:
    """Return the values file. It holds no secret: the access key's is a separate file.

    Args:
        chosen: What was chosen.
        instance_ids: Of the chosen instances.
        cluster: Whose region and VPC stand for those that were not chosen: outside the cloud no
            metadata service tells them.
        console_url: Where this console is, which the component asks instead of the cloud.
    """
    rrsa = chosen.method is Method.RRSA
    key = "registryInstances" if rrsa else "acrInstances"
    lines = [f"# Values of {CHART}, method: {chosen.method}", f'{key}: "{",".join(instance_ids)}"']
    if chosen.method is Method.ACCESS_KEY:
        lines += [
            f'accessKey: "{chosen.access_key}"',
            "# accessKeySecret comes from a file: see the helm command.",
        ]
    if rrsa:
        lines += [
            "rrsa:",
            "  enable: true",
            f'  rrsaRoleARN: "{chosen.role_arn}"',
            f'  rrsaOIDCProviderRoleARN: "{chosen.provider_arn}"',
            f'  assumeRoleARN: "{chosen.assume_role_arn}"',
            f"  expireDuration: {chosen.expire_s}",
        ]
    lines += [
        f'region: "{chosen.region or cluster.region}"',
        f'vpcId: "{chosen.vpc_id or cluster.vpc_id}"',
        "edgeNodePool:",
        f'  id: "{chosen.pool_id}"',
        "p2p:",
        f"  port: {chosen.port}",
        "cloud:",
        "  # This console, by the address that you see it at: write the one that pods reach it by.",
        f"  endpoint: {json.dumps(console_url)}",
        f'  clusterId: "{cluster.id}"',
    ]
    return "\n".join(lines) + "\n"


def helm_command(chosen: Parameters) -> str:
    """Return the command that installs the chart with the values file beside it."""
    lines = [
        f"helm upgrade --install {chosen.release} charts/{CHART}",
        f"  --namespace {chosen.namespace} --create-namespace",
        "  --values values.yaml",
    ]
    if chosen.method is Method.ACCESS_KEY:
        lines.append("  --set-file accessKeySecret=access-key-secret.txt")
    return " \\\n".join(lines)
