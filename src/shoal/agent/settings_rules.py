"""What settings must not say together, each with the keys that would have to change."""

from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address, ip_address
from itertools import combinations
from typing import TYPE_CHECKING

from shoal.core.endpoint import Endpoint

if TYPE_CHECKING:
    from shoal.agent.settings import AgentSettings

# The keys concerned, most likely culprit first, and one sentence.
Problem = tuple[tuple[str, ...], str]


def contradictions(settings: "AgentSettings") -> list[Problem]:
    """Return everything in `settings` that cannot be true at once; empty if all is well."""
    return [
        *_ports(settings),
        *_front(settings),
        *_peer(settings),
        *_kubernetes(settings),
        *_registries(settings),
        *_store(settings),
    ]


def _ports(settings: "AgentSettings") -> Iterator[Problem]:
    listeners = [
        ("front", settings.front.hosts, settings.front.port),
        ("peer", settings.peer.hosts, settings.peer.port),
    ]
    if settings.exporter.enabled:
        listeners.append(("exporter", settings.exporter.hosts, settings.exporter.port))
    for (one, one_hosts, one_port), (two, two_hosts, two_port) in combinations(listeners, 2):
        if one_port == two_port != 0 and _overlap(one_hosts, two_hosts):
            yield (
                (f"{two}.port", f"{one}.port"),
                f"{one}.port and {two}.port are both {one_port} on overlapping addresses: "
                f"give each its own port",
            )


def _overlap(one: tuple[str, ...], two: tuple[str, ...]) -> bool:
    pairs = ((ip_address(a), ip_address(b)) for a in one for b in two)
    return any(
        a == b or (a.version == b.version and (a.is_unspecified or b.is_unspecified))
        for a, b in pairs
    )


def _front(settings: "AgentSettings") -> Iterator[Problem]:
    remote = [host for host in settings.front.hosts if not ip_address(host).is_loopback]
    if remote and not settings.front.allow_remote:
        yield (
            ("front.hosts",),
            f"front.hosts has {', '.join(remote)}, which is not loopback: everyone who reaches it "
            f"could use this node as a relay; if that is wanted set front.allow_remote to true",
        )


def _peer(settings: "AgentSettings") -> Iterator[Problem]:
    yield from _peer_tls(settings)
    if settings.peer.address is not None:
        address = ip_address(settings.peer.address)
        if address.is_unspecified or address.is_multicast:
            yield (
                ("peer.address",),
                f"peer.address is {address}, which no other node can reach: give this node's own "
                f"address, or leave it out",
            )
    for text in settings.membership.static:
        if settings.peer.port == 0 and not _names_its_port(text):
            yield (
                ("membership.static", "peer.port"),
                f"membership.static has {text!r} without a port while peer.port is 0: name the "
                f"port of every member",
            )
        elif _never_a_member(Endpoint.parse(text, default_port=1)):
            yield (
                ("membership.static",),
                f"membership.static has {text!r}, which is not the address of a node",
            )


def _peer_tls(settings: "AgentSettings") -> Iterator[Problem]:
    peer, membership = settings.peer, settings.membership
    given = [name for name, path in peer.tls if path is not None]
    if peer.plaintext:
        if given:
            yield (
                ("peer.plaintext", f"peer.tls.{given[0]}"),
                "peer.plaintext is true, and peer.tls names a certificate: leave out one of them",
            )
        return
    missing = [f"peer.tls.{name}" for name in ("certificate", "key", "ca") if name not in given]
    # A node that is its whole site has nobody to show a certificate to.
    is_alone = not membership.static and membership.dns is None and membership.kubernetes is None
    if missing and (given or not is_alone):
        yield (
            (*missing, "peer.tls", "membership"),
            f"{', '.join(missing)}: needed, since peers show each other certificates: make them by "
            f"`shoal certs init` and `shoal certs issue` (docs/certificates.md), or set "
            f"peer.plaintext to true for a trial",
        )


def _kubernetes(settings: "AgentSettings") -> Iterator[Problem]:
    membership = settings.membership
    kubernetes = membership.kubernetes
    if membership.sites_file is not None and None in (kubernetes, membership.node):
        yield (
            ("membership.sites_file", "membership.node", "membership.kubernetes"),
            "membership.sites_file is set, and it says which nodes of a Service are members: set "
            "membership.kubernetes too, and membership.node to this node's name, as the variable "
            "SHOAL_MEMBERSHIP__NODE from the pod's spec.nodeName",
        )
    if kubernetes is None:
        return
    if kubernetes.sites_config_map is not None and membership.sites_file is None:
        yield (
            ("membership.kubernetes.sites_config_map", "membership.sites_file"),
            "membership.kubernetes.sites_config_map names a ConfigMap, and not which of its keys: "
            "set membership.sites_file to where that key is mounted",
        )
    for key, is_set in (
        ("static", bool(settings.membership.static)),
        ("dns", settings.membership.dns is not None),
    ):
        if is_set:
            yield (
                ("membership.kubernetes", f"membership.{key}"),
                f"membership.kubernetes and membership.{key} are both set: the Service already "
                f"names every member, so leave out membership.{key}",
            )
    if settings.peer.address is None:
        yield (
            ("peer.address", "membership.kubernetes"),
            "peer.address is not set beside membership.kubernetes: set it to the address that "
            "this node's pod has in the Service, as the variable SHOAL_PEER__ADDRESS from the "
            "pod's status.hostIP",
        )
    if kubernetes.server.startswith("http://"):
        yield (
            ("membership.kubernetes.server",),
            f"membership.kubernetes.server is {kubernetes.server}, which would show the account's "
            f"token to everyone on the path: use https",
        )


def _names_its_port(text: str) -> bool:
    return Endpoint.parse(text, default_port=1) == Endpoint.parse(text, default_port=2)


def _never_a_member(member: Endpoint) -> bool:
    if not member.is_address:
        return False
    address: IPv4Address | IPv6Address = ip_address(member.host)
    return address.is_unspecified or address.is_multicast


def _registries(settings: "AgentSettings") -> Iterator[Problem]:
    taken: dict[str, int] = {}
    for index, registry in enumerate(settings.registries):
        key = f"registries[{index}]"
        for name in sorted(registry.names):
            if name in taken:
                yield (
                    (key, f"registries[{taken[name]}]"),
                    f"{key} ({registry.name}) and registries[{taken[name]}] both answer to "
                    f"{name!r}: a name or alias belongs to one registry",
                )
            taken.setdefault(name, index)
        if registry.base_url.startswith("http://") and not registry.plain_http:
            yield (
                (f"{key}.url", f"{key}.plain_http"),
                f"{key}.url of {registry.name} is plain HTTP, which shows credentials to everyone "
                f"on the path: use https, or set {key}.plain_http to true",
            )
        if registry.base_url.startswith("https://") and registry.plain_http:
            yield (
                (f"{key}.plain_http", f"{key}.url"),
                f"{key}.plain_http is true but the URL of {registry.name} is "
                f"{registry.base_url}: write http:// in {key}.url, or leave plain_http out",
            )
        if registry.ca_file is not None and registry.plain_http:
            yield (
                (f"{key}.ca_file", f"{key}.plain_http"),
                f"{key}.ca_file is set for {registry.name}, which is asked without TLS: leave out "
                f"one of ca_file and plain_http",
            )
        if registry.access == "node" and registry.credentials_file is None:
            yield (
                (f"{key}.credentials_file", f"{key}.access"),
                f"{key}.access of {registry.name} is 'node' without a credential of the node's: "
                f"set {key}.credentials_file to a Docker config, or use 'client'",
            )
        if registry.access == "client" and registry.credentials_file is not None:
            yield (
                (f"{key}.access", f"{key}.credentials_file"),
                f"{key}.credentials_file is set for {registry.name} and would not be used: set "
                f"{key}.access to 'node', or leave it out",
            )
    defaults = [i for i, registry in enumerate(settings.registries) if registry.default]
    if len(defaults) > 1:
        yield (
            tuple(f"registries[{i}].default" for i in defaults),
            f"{len(defaults)} registries are the default "
            f"({', '.join(settings.registries[i].name for i in defaults)}): keep one",
        )


def _store(settings: "AgentSettings") -> Iterator[Problem]:
    if settings.containerd.content_dir is not None:
        content, store = settings.containerd.content_dir, settings.store.path
        if store == content or store.is_relative_to(content) or content.is_relative_to(store):
            yield (
                ("store.path", "containerd.content_dir"),
                f"store.path {store} and containerd.content_dir {content} are the same folder or "
                f"one inside the other: the store needs a folder of its own",
            )
