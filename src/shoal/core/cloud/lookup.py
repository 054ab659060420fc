"""What the cloud says of an instance: domains to accelerate and why, or what is in the way."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from urllib.parse import urlsplit

from shoal.core.cloud.failures import (
    ENABLE_STEP,
    INSTALL_STEP,
    PREREQUISITES,
    Advice,
    Attempt,
    Mistake,
    grant_step,
)
from shoal.core.cloud.policies import EDITION_ACTION, permissions_document
from shoal.core.console import fields
from shoal.core.console.models import EndpointKind, InstanceStatus, LinkStatus
from shoal.core.console.switch import EDITIONS_WITH_P2P
from shoal.core.errors import BadInput


@dataclass(frozen=True, slots=True, kw_only=True)
class Described:
    """GetInstance's answer, in the cloud's spelling."""

    name: str
    edition: str
    status: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Switch:
    """The P2P Acceleration switch of an instance, as far as it can be asked.

    Attributes:
        enabled: whether the agents may share; None where the cloud has no such question.
        generation: how often it was switched on; None if that is not told.
    """

    enabled: bool | None
    generation: int | None = None


UNKNOWN_SWITCH = Switch(enabled=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class VpcEndpoint:
    """GetInstanceVpcEndpoint's answer: `links` is each VPC's status by its id."""

    enabled: bool
    domains: tuple[str, ...]
    links: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """One of ListInstanceEndpoint's endpoints."""

    kind: str
    enabled: bool
    domains: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """All that the cloud said of one instance. None: this credential may not ask that."""

    instance_id: str
    described: Described | None
    switch: Switch
    vpc: VpcEndpoint
    ways: tuple[Way, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistryDomain:
    """A registry to accelerate: `why` says which endpoint of which instance it is."""

    name: str
    instance_id: str
    why: str


def domains_of(answers: Answers) -> tuple[RegistryDomain, ...]:
    """Return the domains by which images of an instance are named, the VPC's first.

    What an endpoint that is off is called is left out, and so is what is no domain.
    """
    named: dict[str, str] = {}
    if answers.vpc.enabled:
        for name in answers.vpc.domains:
            named.setdefault(name, "VPC endpoint")
    for way in answers.ways:
        is_vpc = way.kind.lower() == EndpointKind.VPC.value
        if way.enabled and (not is_vpc or answers.vpc.enabled):
            for name in way.domains:
                named.setdefault(name, f"{'VPC' if is_vpc else way.kind} endpoint")
    return tuple(
        RegistryDomain(
            name=_host(name), instance_id=answers.instance_id, why=f"{why} of {answers.instance_id}"
        )
        for name, why in named.items()
        if _is_domain(_host(name))
    )


def advice_on(answers: Answers, attempt: Attempt) -> tuple[Advice, ...]:
    """Return what is wrong with an instance that could be asked about, what blocks first."""
    found = [*_of_instance(answers, attempt), *_of_vpc(answers, attempt)]
    if not domains_of(answers) and not any(one.blocks for one in found):
        found.append(
            _advice(
                Mistake.NO_DOMAINS,
                PREREQUISITES,
                f"no endpoint of {answers.instance_id} that is on has a domain: configure a VPC "
                "ACL of the instance.",
            )
        )
    return tuple(sorted(found, key=lambda one: not one.blocks))


def may_share(switches: Iterable[Switch]) -> bool:
    """Return whether agents may share what comes from instances with these switches."""
    return all(switch.enabled is not False for switch in switches)


def _of_instance(answers: Answers, attempt: Attempt) -> Iterator[Advice]:
    id_, described = answers.instance_id, answers.described
    if described is None:
        yield _advice(
            Mistake.EDITION_UNKNOWN,
            grant_step(attempt),
            f"the edition of {id_} is not known, since the documentation's policy is without "
            f"{EDITION_ACTION}: nothing else depends on it; add the policy document to have it "
            "checked.",
            document=permissions_document(edition=True),
            blocks=False,
        )
    else:
        if described.edition not in EDITIONS_WITH_P2P:
            yield _advice(
                Mistake.EDITION_TOO_LOW,
                PREREQUISITES,
                f"{described.name} ({id_}) is {_label(described.edition)} edition: upgrade it to "
                "Standard or Advanced.",
            )
        if described.status != InstanceStatus.RUNNING:
            yield _advice(
                Mistake.INSTANCE_NOT_RUNNING,
                PREREQUISITES,
                f"{described.name} ({id_}) is {described.status}: wait until it is RUNNING, or "
                "renew it.",
            )
    if answers.switch.enabled is False:
        yield _advice(
            Mistake.P2P_OFF,
            ENABLE_STEP,
            f"P2P Acceleration of {id_} is off: switch it on in the Container Registry console, "
            "Overview > Component Settings.",
        )
    elif answers.switch.enabled is None:
        yield _advice(
            Mistake.SWITCH_UNKNOWN,
            ENABLE_STEP,
            f"the cloud does not say whether P2P Acceleration of {id_} is on: see to it in the "
            "Container Registry console, Overview > Component Settings.",
            blocks=False,
        )


def _of_vpc(answers: Answers, attempt: Attempt) -> Iterator[Advice]:
    id_, vpc = answers.instance_id, answers.vpc
    if not vpc.enabled:
        yield _advice(
            Mistake.VPC_ENDPOINT_OFF,
            PREREQUISITES,
            f"the VPC endpoint of {id_} is off: switch it on under Access Control > VPC, and add "
            f"{attempt.vpc_id or 'the VPC of the cluster'} to it.",
        )
        return
    links = dict(vpc.links)
    if not attempt.vpc_id and links:
        yield _advice(
            Mistake.VPC_UNKNOWN,
            INSTALL_STEP,
            f"the VPC of the cluster is not known, so the VPC ACL of {id_} was not checked: set "
            f"vpcId to the one that reaches it ({', '.join(sorted(links))}).",
            blocks=False,
        )
    elif attempt.vpc_id not in links:
        yield _advice(
            Mistake.VPC_NOT_LINKED,
            PREREQUISITES,
            f"{attempt.vpc_id or 'the VPC of the cluster'} is not in the VPC ACL of {id_}: add it "
            "under Access Control > VPC of the instance, or set vpcId to the VPC that is.",
        )
    elif links[attempt.vpc_id] != LinkStatus.RUNNING:
        yield _advice(
            Mistake.ENDPOINT_CREATING,
            PREREQUISITES,
            f"the endpoint of {id_} in {attempt.vpc_id} is still {links[attempt.vpc_id]}: wait "
            "some minutes until it is RUNNING.",
        )


def _advice(
    mistake: Mistake, step: str, text: str, *, document: str = "", blocks: bool = True
) -> Advice:
    return Advice(
        mistake=mistake, step=step, sentence=f"{step}: {text}", document=document, blocks=blocks
    )


def _label(edition: str) -> str:
    return edition.removeprefix("Enterprise_") or "of an unknown"


def _host(name: str) -> str:
    """Return a domain in lower case, also where a URL was given."""
    return (urlsplit(name).netloc if "://" in name else name).lower().rstrip("./")


def _is_domain(name: str) -> bool:
    try:
        fields.domain(name)
    except BadInput:
        return False
    return True
