"""What this node can reach: a registry's domain, and other nodes."""

import asyncio
import socket
from collections.abc import Sequence

import aiohttp

from shoal.core.endpoint import Endpoint

TIMEOUT_S = 5.0
MAX_ADDRESSES = 5_000  # of a site
AT_ONCE = 64


async def registry_fault(domain: str, *, plain_http: bool = False) -> str:
    """Return why a registry's domain cannot be reached, or "" if it answers as a registry.

    Any answer to `/v2/` will do but a failure: that nobody is signed in is usual.
    """
    url = f"{'http' if plain_http else 'https'}://{domain}/v2/"
    timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout) as session,
            session.get(url, allow_redirects=False) as answer,
        ):
            if answer.status in (200, 401, 403):
                return ""
            return f"status {answer.status} instead of a registry's answer"
    except TimeoutError:
        return f"no answer within {TIMEOUT_S:.0f} s"
    except (aiohttp.ClientError, OSError) as error:
        return str(error) or type(error).__name__


async def addresses_of(host: str, port: int) -> tuple[Endpoint, ...]:
    """Return all addresses of a name, as a headless Service has one for each node.

    Raises:
        OSError: the name cannot be resolved.
    """
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(TIMEOUT_S):
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    hosts = sorted({str(address[0]) for *_, address in found})[:MAX_ADDRESSES]
    return tuple(Endpoint(one, port) for one in hosts)


async def unreachable(nodes: Sequence[Endpoint]) -> dict[Endpoint, str]:
    """Return those that no connection can be made with, and why, in the order given."""
    turns = asyncio.Semaphore(AT_ONCE)

    async def fault_of(node: Endpoint) -> str:
        async with turns:
            return await _connection_fault(node)

    faults = await asyncio.gather(*(fault_of(node) for node in nodes))
    return {node: fault for node, fault in zip(nodes, faults, strict=True) if fault}


async def _connection_fault(node: Endpoint) -> str:
    try:
        async with asyncio.timeout(TIMEOUT_S):
            _, writer = await asyncio.open_connection(node.host, node.port)
            writer.close()
            await writer.wait_closed()
    except TimeoutError:
        return f"no answer within {TIMEOUT_S:.0f} s"
    except OSError as error:
        return error.strerror or str(error)
    return ""
