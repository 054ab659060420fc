"""What the doctor finds: one line for each thing it looked at."""

import socket
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from shoal.adapters.cloud import reach
from shoal.adapters.cloud.lookup import AcrLookup, LookedUp
from shoal.core.cloud.failures import Advice, CloudFailed
from shoal.core.cloud.reach import cannot_reach_nodes, cannot_reach_registry
from shoal.core.endpoint import Endpoint


class State(StrEnum):
    """How a thing is."""

    OK = "ok"
    NOTE = "note"
    PROBLEM = "problem"


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One thing that was looked at. `name` is what, `message` how it is and what to do."""

    name: str
    state: State
    message: str
    mistake: str = ""
    step: str = ""
    document: str = ""
    passes: bool = False  # whether it may be gone the next time


async def cloud_checks(lookup: AcrLookup, instances: Sequence[str]) -> tuple[Check, ...]:
    """Return what the cloud says of the instances, with these credentials."""
    try:
        found = await lookup.look_up(instances)
    except CloudFailed as failed:
        return (_of_advice("credentials", failed.advice),)
    return tuple(_of_lookup(found, instances))


async def node_checks(
    registries: Sequence[str], peers: Sequence[Endpoint], *, plain_http: bool
) -> AsyncIterator[Check]:
    """Yield what this node reaches: each registry's domain, and the other nodes.

    Args:
        registries: domains, as images are named by them.
        peers: addresses of agents, or names that have all of theirs.
        plain_http: whether registries are asked without TLS.
    """
    node = socket.gethostname()
    for domain in registries:
        name = f"this node to {domain}"
        if why := await reach.registry_fault(domain, plain_http=plain_http):
            yield _of_advice(name, cannot_reach_registry(domain, node=node, why=why))
        else:
            yield Check(name=name, state=State.OK, message="answers as a registry")
    for peer in peers:
        name = f"this node to {peer}"
        try:
            nodes = await reach.addresses_of(peer.host, peer.port)
        except (OSError, TimeoutError) as error:
            why = getattr(error, "strerror", None) or "its name is not resolved in time"
            yield _of_advice(name, cannot_reach_nodes([str(peer)], node=node, of=1, why=why))
            continue
        faults = await reach.unreachable(nodes)
        if faults:
            first = next(iter(faults.values()))
            named = [str(one) for one in faults]
            advice = cannot_reach_nodes(named, node=node, of=len(nodes), why=first)
            yield _of_advice(name, advice)
        else:
            yield Check(name=name, state=State.OK, message=f"{len(nodes)} nodes can be reached")


def _of_lookup(found: LookedUp, instances: Sequence[str]) -> list[Check]:
    checks = [Check(name="credentials", state=State.OK, message="the cloud accepts them")]
    checks += [_of_advice("instance", one) for one in found.advice]
    checks += [
        Check(name="domain", state=State.OK, message=f"{domain.name} ({domain.why})")
        for domain in found.domains
    ]
    return checks


def _of_advice(name: str, advice: Advice) -> Check:
    return Check(
        name=name,
        state=State.PROBLEM if advice.blocks else State.NOTE,
        message=advice.sentence,
        mistake=advice.mistake.value,
        step=advice.step,
        document=advice.document,
        passes=advice.passes,
    )
