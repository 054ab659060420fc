"""The console's records. Times are whole seconds of Unix time, ids are the cloud's kind."""

from dataclasses import dataclass
from enum import StrEnum


class Edition(StrEnum):
    """What an instance was bought as, in the cloud API's spelling."""

    BASIC = "Enterprise_Basic"
    STANDARD = "Enterprise_Standard"
    ADVANCED = "Enterprise_Advanced"

    @property
    def label(self) -> str:
        """The edition as people say it, such as `Standard`."""
        return self.value.removeprefix("Enterprise_")


class InstanceStatus(StrEnum):
    """The states that the cloud API knows; only RUNNING serves."""

    PENDING = "PENDING"
    STARTING = "STARTING"
    RUNNING = "RUNNING"
    STOPPED = "STOPPED"


class EndpointKind(StrEnum):
    """From where an endpoint can be reached."""

    INTERNET = "internet"
    VPC = "vpc"


class LinkStatus(StrEnum):
    """Whether a VPC's way to an instance is ready."""

    CREATING = "CREATING"
    RUNNING = "RUNNING"


class PoolKind(StrEnum):
    """Where the nodes of a pool stand."""

    CLOUD = "cloud"
    EDGE = "edge"


class PrincipalKind(StrEnum):
    """Who can have a policy."""

    USER = "user"
    ROLE = "role"


def ram_arn(account: str, kind: str, name: str) -> str:
    """Return the name that policies have for something of an account, such as a role."""
    return f"acs:ram::{account}:{kind}/{name}"


def account_of(arn: str) -> str:
    """Return the account in an ARN; "" if there is none in it."""
    return (arn.split(":") + [""] * 4)[3]


def root_arn(account: str) -> str:
    """Return the name by which a trust policy trusts all of an account."""
    return f"acs:ram::{account}:root"


@dataclass(frozen=True, slots=True)
class Account:
    """Who owns things: instances, clusters, users, roles and policies each belong to one.

    `management` is the console's first account, the one that may make others.
    """

    id: str
    name: str
    management: bool
    created_at: int


@dataclass(frozen=True, slots=True)
class Instance:
    """A registry as the cloud's API shows it; `registry_url` is the real one behind it.

    `p2p_generation` counts how often P2P acceleration was switched on: a component that was
    installed under an earlier count has to be reinstalled.
    """

    id: str
    account: str
    name: str
    region: str
    edition: Edition
    status: InstanceStatus
    registry_url: str
    p2p_enabled: bool
    p2p_generation: int
    p2p_changed_at: int | None
    created_at: int
    modified_at: int


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One way in to an instance, with the domains that clients name and the ACL before it."""

    instance_id: str
    kind: EndpointKind
    enabled: bool
    acl_enabled: bool
    domains: tuple[str, ...]
    acl: tuple[str, ...]  # CIDRs


@dataclass(frozen=True, slots=True)
class VpcLink:
    """A VPC that may reach an instance: one entry of the instance's VPC ACL."""

    instance_id: str
    vpc_id: str
    vswitch_id: str
    ip: str
    status: LinkStatus
    default_access: bool


@dataclass(frozen=True, slots=True)
class User:
    """A RAM user: a name for access keys and policies, not a person who signs in here."""

    id: str
    account: str
    name: str
    comment: str
    created_at: int

    @property
    def arn(self) -> str:
        """The user's name in policies."""
        return ram_arn(self.account, PrincipalKind.USER, self.name)


@dataclass(frozen=True, slots=True)
class AccessKey:
    """An access key without its secret."""

    id: str
    account: str
    user_name: str
    active: bool
    created_at: int


@dataclass(frozen=True, slots=True)
class Role:
    """A RAM role; `trust` is the policy document that says who may assume it."""

    id: str
    account: str
    name: str
    comment: str
    trust: str
    max_session_s: int
    created_at: int

    @property
    def arn(self) -> str:
        """The role's name in policies and calls."""
        return ram_arn(self.account, PrincipalKind.ROLE, self.name)


@dataclass(frozen=True, slots=True)
class Policy:
    """A permission policy; `system` ones come with the account and cannot be changed."""

    account: str
    name: str
    comment: str
    document: str
    system: bool
    created_at: int


@dataclass(frozen=True, slots=True)
class OidcProvider:
    """An issuer whose tokens roles may trust; `keys` is a JWK set, or empty to ask the issuer."""

    account: str
    name: str
    issuer: str
    audiences: tuple[str, ...]
    keys: str
    created_at: int

    @property
    def arn(self) -> str:
        """The provider's name in trust policies and calls."""
        return ram_arn(self.account, "oidc-provider", self.name)


@dataclass(frozen=True, slots=True)
class Cluster:
    """A cluster that may run the component, as its owner or its set-up Job described it."""

    id: str
    account: str
    name: str
    region: str
    vpc_id: str
    edge: bool
    version: str
    rrsa_enabled: bool
    rrsa_issuer: str
    created_at: int


@dataclass(frozen=True, slots=True)
class NodePool:
    """A pool of a cluster's nodes."""

    id: str
    cluster_id: str
    name: str
    kind: PoolKind
    dedicated: bool
    interconnected: bool
    nodes: int


@dataclass(frozen=True, slots=True)
class Component:
    """The P2P component of one cluster for one instance, as its Job or controller reported it."""

    cluster_id: str
    instance_id: str
    version: str
    method: str
    p2p_generation: int
    installed_at: int
    reported_at: int


@dataclass(frozen=True, slots=True)
class AuditEvent:
    """Something that was changed, or a call that was refused."""

    id: int
    at: int
    actor: str
    source: str
    action: str
    resource: str
    allowed: bool
    detail: str
    request_id: str
