"""What a node that cannot reach something is missing."""

from collections.abc import Sequence

from shoal.core.cloud.failures import INSTALL_STEP, PREREQUISITES, Advice, Mistake

EDGE_STEP = f"{INSTALL_STEP}, edge node pools"


def cannot_reach_registry(domain: str, *, node: str, why: str) -> Advice:
    """Return what to tell where a node has no way to a registry's domain."""
    return Advice(
        mistake=Mistake.NODE_CANNOT_REACH_REGISTRY,
        step=EDGE_STEP,
        sentence=f"{EDGE_STEP}: node {node} cannot reach {domain} ({why}): connect it to the "
        "instance's VPC, over Express Connect from outside the cloud, and let its name servers "
        "resolve the domain to the endpoint's address there.",
    )


def cannot_reach_nodes(addresses: Sequence[str], *, node: str, of: int, why: str) -> Advice:
    """Return what to tell where a node has no way to other nodes of its pool.

    Args:
        addresses: of those that it cannot reach.
        node: whose sight it is.
        of: how many were tried.
        why: what the first of them failed with.
    """
    named = ", ".join(addresses[:3]) + (", …" if len(addresses) > 3 else "")
    return Advice(
        mistake=Mistake.NODE_CANNOT_REACH_NODE,
        step=PREREQUISITES,
        sentence=f"{PREREQUISITES}: node {node} cannot reach {len(addresses)} of {of} nodes "
        f"({named}: {why}): use a dedicated edge node pool with inter-node connection enabled, and "
        "let nodes reach each other's p2p.v2.p2pPort.",
    )
