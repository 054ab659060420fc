"""Turns names of hosts into addresses, in bounded time."""

import asyncio
import ipaddress
import socket
from collections.abc import Awaitable, Callable

from shoal.core.endpoint import normal_host
from shoal.core.errors import BadInput

# Returns the addresses of a name; raises OSError if there are none now.
Resolve = Callable[[str], Awaitable[frozenset[str]]]

# A site has 10,000 nodes at most in what was modelled; a DNS answer beyond this is another's.
MAX_ADDRESSES = 16384


async def resolve_by_system(host: str) -> frozenset[str]:
    """Return all A and AAAA records of `host`, by the system's resolver, in a thread.

    Raises:
        OSError: the name does not exist or the resolver does not answer; it sets the time.
    """
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    addresses = set()
    for family, _, _, _, sockaddr in found[:MAX_ADDRESSES]:
        if family in (socket.AF_INET, socket.AF_INET6) and is_member_address(str(sockaddr[0])):
            addresses.add(normal_host(str(sockaddr[0])))
    return frozenset(addresses)


def is_member_address(text: str) -> bool:
    """Return whether another node can be at this address."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return False
    # A link-local address means nothing without the interface, which differs between nodes.
    return not (address.is_unspecified or address.is_multicast or "%" in text)


async def resolved(host: str, *, resolve: Resolve, timeout_s: float) -> frozenset[str]:
    """Return the addresses of `host`, or raise OSError within `timeout_s` seconds."""
    try:
        async with asyncio.timeout(timeout_s):
            return await resolve(host)
    except TimeoutError as exc:
        raise OSError(f"no answer within {timeout_s:g} s") from exc
    except (UnicodeError, BadInput) as exc:  # a name with a label that is too long
        raise OSError(f"not a name that can be looked up: {exc}") from exc
