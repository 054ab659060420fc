"""Where a registry may send us: redirects, token realms, and the addresses behind their names.

A registry, or whoever can write to it, chooses these targets. Without a check it could make every
node read its own loopback services or its cloud's metadata service. A name is checked by the
address that it resolves to, in the resolver whose answer is the one connected to, so a second look
at the DNS cannot give another.
"""

import socket
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address

from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import ThreadedResolver
from yarl import URL

from shoal.adapters.origin.config import RegistryConfig
from shoal.core.errors import OriginDenied, OriginError
from shoal.core.reference import DOCKER_HUB

MAX_REDIRECTS = 5  # a registry needs one, to its storage; curl and Go stop at 50 and 10

# Metadata services outside the link-local ranges. Source: AWS "Instance Metadata Service" (IPv6),
# Alibaba Cloud "View instance metadata".
_METADATA = frozenset({ip_address("fd00:ec2::254"), ip_address("100.100.100.200")})
# Source: the challenge of registry-1.docker.io.
DOCKER_HUB_REALM = "auth.docker.io"
# RFC 6052 2.1 and RFC 3056: IPv6 addresses that carry an IPv4 address to which they are translated.
_NAT64 = IPv6Network("64:ff9b::/96")


class AddressRefused(OSError):
    """A target's name resolves to an address that its registry may not send us to."""


def address_fault(text: str) -> str | None:
    """Return why an address is no target for a redirect or realm, or None if it is one.

    Private networks (10/8, fc00::/7 and so on) are allowed: on-premises storage lives there.
    """
    address: IPv4Address | IPv6Address = ip_address(text)
    if isinstance(address, IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour
        if inner is None and address in _NAT64:
            inner = IPv4Address(int(address) & 0xFFFFFFFF)
        address = inner or address
    if address in _METADATA:
        return "a cloud's metadata service"
    if address.is_loopback:
        return "a loopback address"
    if address.is_link_local:
        return "a link-local address"
    if address.is_unspecified:
        return "the unspecified address"
    if address.is_multicast:
        return "a multicast address"
    return None


def origin_of(url: URL) -> tuple[str, str, int]:
    """Return scheme, host and port: what two URLs must share for credentials to go to both."""
    return url.scheme, (url.raw_host or "").rstrip(".").lower(), url.port or 0


def is_exempt(registry: RegistryConfig, host: str, port: int) -> bool:
    """Whether `host` may be a target of `registry` whatever address it has."""
    if registry.allow_private_redirects:
        return True
    name = host.strip("[]").rstrip(".").lower()
    # A registry on loopback has its storage or realm there as well, on another port.
    if name == (URL(registry.url).raw_host or "").rstrip(".").lower():
        return True
    bracketed = f"[{name}]" if ":" in name else name
    allowed = {entry.lower() for entry in registry.redirect_hosts}
    return not allowed.isdisjoint({name, bracketed, f"{bracketed}:{port}"})


def _is_listed(entry: str, host: str, port: int | None) -> bool:
    """Return whether `entry` (`host`, `host:port` or `*.domain`) is about this host and port."""
    if entry.startswith("*."):
        return host.endswith(entry[1:])
    return entry in (host, f"{host}:{port}")


def check_listed_realm(registry: RegistryConfig, url: URL) -> None:
    """Refuse to show this node's own credential to a realm that nobody has listed.

    A registry that was taken over could name any realm, and collect passwords so.

    Raises:
        OriginDenied: neither the registry's own host nor one of its `realm_hosts`.
    """
    host = (url.raw_host or "").rstrip(".").lower()
    bracketed = f"[{host}]" if ":" in host else host
    own = (URL(registry.url).raw_host or "").rstrip(".").lower()
    listed = [entry.lower() for entry in registry.realm_hosts]
    if registry.name == DOCKER_HUB:
        listed.append(DOCKER_HUB_REALM)
    if host and (host == own or any(_is_listed(e, bracketed, url.port) for e in listed)):
        return
    raise OriginDenied(
        f"{registry.name}: the token realm at {bracketed[:255]} is not shown this node's "
        "credential; if it is the registry's, add it to realm_hosts"
    )


def check_target(
    registry: RegistryConfig, url: URL, *, what: str, status: int | None = None
) -> None:
    """Refuse a redirect or realm by what its URL alone shows.

    Args:
        registry: whose answer named the target.
        url: the target, absolute.
        what: "redirect" or "token realm", for the message.
        status: of the answer that named it, for the error.

    Raises:
        OriginError: another scheme than http and https, plain HTTP that is not allowed, credentials
            in the URL, or a literal address that is refused.
    """
    host = url.raw_host
    where = f"{registry.name}: {what} to {url.scheme}://{(host or '')[:255]}"
    if url.scheme not in ("http", "https") or not host:
        raise OriginError(f"{where} is no http or https URL", status=status)
    if url.scheme == "http" and not registry.plain_http:
        raise OriginError(
            f"{where} is refused: it is not encrypted and plain_http is not set", status=status
        )
    if url.raw_user is not None or url.raw_password is not None:
        raise OriginError(f"{where} is refused: its URL holds credentials", status=status)
    if is_exempt(registry, host, url.port or 0):
        return
    try:
        fault = address_fault(host)
    except ValueError:
        # A name: the resolver looks at what it resolves to. Unless it is one of the old spellings
        # of an address (127.1, 0x7f000001), which some resolvers take without being asked.
        # Source: WHATWG URL standard, "ends in a number checker".
        last = host.rstrip(".").rpartition(".")[2]
        if not (last.isdecimal() or last.lower().startswith("0x")):
            return
        fault = "an unusual spelling of an address"
    if fault is not None:
        raise OriginError(
            f"{where} is refused: {fault}; if it is meant, add it to redirect_hosts", status=status
        )


class GuardedResolver(AbstractResolver):
    """Resolves names of redirect targets and realms, and refuses those of forbidden addresses."""

    def __init__(self, registry: RegistryConfig) -> None:
        self._registry = registry
        self._resolver = ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Return the addresses of `host`.

        Raises:
            AddressRefused: one of them is forbidden. All are refused then: a name that mixes public
                and internal addresses is made to slip past such checks.
            OSError: the name cannot be resolved.
        """
        results = await self.look_up(host, port, family)
        if not is_exempt(self._registry, host, port):
            for result in results:
                if (fault := address_fault(result["host"])) is not None:
                    raise AddressRefused(
                        f"{host} resolves to {fault}; if it is meant, add it to redirect_hosts"
                    )
        return results

    async def look_up(
        self, host: str, port: int, family: socket.AddressFamily
    ) -> list[ResolveResult]:
        """Return the addresses of `host`, unchecked."""
        return await self._resolver.resolve(host, port, family)

    async def close(self) -> None:
        """Release the resolver."""
        await self._resolver.close()
