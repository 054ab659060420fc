"""Who a certificate says its holder is, in names that Shoal understands.

A certificate carries its identity as URIs, in the form that SPIFFE uses for workloads, and the
node's addresses as names beside them:

    shoal://CLUSTER/node/NAME    the node NAME of CLUSTER
    shoal://CLUSTER/role/ROLE    its holder has ROLE there
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from urllib.parse import quote, unquote

from shoal.core.endpoint import Endpoint
from shoal.core.errors import BadInput, PeerFault
from shoal.core.peer import PeerId

SCHEME = "shoal"

# A host name's letters, since name constraints (RFC 5280, 4.2.1.10) compare the URI's host.
_CLUSTER = re.compile(r"[a-z0-9](?:[a-z0-9.-]{0,61}[a-z0-9])?", re.ASCII)
# Kubernetes names nodes by DNS subdomains of up to 253 characters.
_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,251}[A-Za-z0-9])?", re.ASCII)
_ROLE = re.compile(r"[a-z][a-z0-9-]{0,62}", re.ASCII)


class Role(StrEnum):
    """What a holder may do beyond exchanging pieces."""

    OPERATOR = "operator"


class Reason(StrEnum):
    """Why a peer's certificate was refused; the values are labels of a metric."""

    NONE = "none"
    EXPIRED = "expired"
    NOT_YET_VALID = "not_yet_valid"
    REVOKED = "revoked"
    OTHER_CLUSTER = "other_cluster"
    NOT_THE_MEMBER = "not_the_member"
    NO_ROLE = "no_role"
    MALFORMED = "malformed"
    REFUSED_BY_PEER = "refused_by_peer"
    NO_TLS = "no_tls"
    OTHER = "other"


class Refused(PeerFault):
    """A peer is not who it must be; `reason` says why in a word, the message in a sentence."""

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Identity:
    """What a certificate that was checked says of its holder."""

    cluster: str
    node: str | None  # None: no node's, as an operator's
    addresses: frozenset[str]  # IP addresses and host names, as `normal_host` spells them
    roles: frozenset[str]
    not_after_s: float  # Unix time
    serial: int
    name: str = ""  # for people: the node's, or whom it was made for

    def require_member(self, peer: PeerId) -> None:
        """Refuse a holder that is not the member `peer`.

        Raises:
            Refused: it is no node's certificate, or not one for that address.
        """
        if self.node is None:
            raise Refused(
                Reason.NOT_THE_MEMBER, f"the certificate of {self} is no node's, but {peer} calls"
            )
        if Endpoint.parse(peer).host not in self.addresses:
            raise Refused(
                Reason.NOT_THE_MEMBER,
                f"the certificate of {self} is for {', '.join(sorted(self.addresses)) or 'no'} "
                f"address, not for {peer}: issue one with that address",
            )

    def require_role(self, role: Role) -> None:
        """Refuse a holder without `role`.

        Raises:
            Refused: it has it not.
        """
        if role not in self.roles:
            raise Refused(
                Reason.NO_ROLE,
                f"the certificate of {self} lacks the role {role}: "
                f"`shoal certs issue --role {role}` makes one",
            )

    def __str__(self) -> str:
        return f"{self.node or self.name or 'nobody'} of {self.cluster}"


def cluster_name(text: str) -> str:
    """Return `text` if it can name a cluster.

    Raises:
        BadInput: it cannot.
    """
    if not _CLUSTER.fullmatch(text):
        raise BadInput(
            "expected a cluster's name of 1 to 63 lower-case letters, digits, dots and hyphens, "
            f"got {text[:80]!r}"
        )
    return text


def node_name(text: str) -> str:
    """Return `text` if it can name a node, or an operator.

    Raises:
        BadInput: it cannot.
    """
    if not _NAME.fullmatch(text):
        raise BadInput(
            "expected a name of 1 to 253 letters, digits, dots, hyphens and underscores, "
            f"got {text[:80]!r}"
        )
    return text


def node_uri(cluster: str, node: str) -> str:
    """Return the URI of a node."""
    return f"{SCHEME}://{cluster}/node/{quote(node)}"


def role_uri(cluster: str, role: str) -> str:
    """Return the URI of a role."""
    return f"{SCHEME}://{cluster}/role/{role}"


@dataclass(frozen=True, slots=True)
class Claims:
    """What the URIs of a certificate say."""

    cluster: str
    node: str | None
    roles: frozenset[str]


def claims_of(uris: Iterable[str]) -> Claims:
    """Return what the URIs of a certificate say; those of other schemes are not for Shoal.

    Raises:
        Refused: one of Shoal's scheme is malformed, there is none, or they contradict each other.
    """
    clusters: set[str] = set()
    nodes: set[str] = set()
    roles: set[str] = set()
    for uri in uris:
        scheme, _, rest = uri.partition("://")
        if scheme != SCHEME:
            continue
        cluster, _, path = rest.partition("/")
        kind, _, value = path.partition("/")
        value = unquote(value)
        if not _CLUSTER.fullmatch(cluster):
            raise _malformed(uri)
        clusters.add(cluster)
        if kind == "node" and _NAME.fullmatch(value):
            nodes.add(value)
        elif kind == "role" and _ROLE.fullmatch(value):
            roles.add(value)
        else:
            raise _malformed(uri)
    if not clusters:
        raise Refused(
            Reason.MALFORMED,
            f"a certificate without a {SCHEME}:// name: it was not made for Shoal's peers",
        )
    if len(clusters) > 1 or len(nodes) > 1:
        raise Refused(Reason.MALFORMED, "a certificate that names several clusters or nodes")
    return Claims(clusters.pop(), nodes.pop() if nodes else None, frozenset(roles))


def _malformed(uri: str) -> Refused:
    return Refused(Reason.MALFORMED, f"a certificate with the malformed name {uri[:160]!r}")
