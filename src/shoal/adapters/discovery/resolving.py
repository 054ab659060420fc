"""Turns names of hosts into addresses, in bounded time."""

import asyncio
import contextlib
import ipaddress
import socket
import threading
from collections.abc import Awaitable, Callable

from shoal.core.endpoint import normal_host
from shoal.core.errors import BadInput

# Returns the addresses of a name; raises OSError if there are none now.
Resolve = Callable[[str], Awaitable[frozenset[str]]]

# A site has 10,000 nodes at most in what was modelled; a DNS answer beyond this is another's.
MAX_ADDRESSES = 16384


class SystemResolver:
    """Asks the system's resolver, each time in a thread of its own that nobody waits for at exit.

    The resolver sets its own time, half a minute and more in an outage: in the event loop's shared
    threads its look-ups would hold up hashing and files, and the process's end.
    """

    def __init__(self, *, most_at_once: int = 8) -> None:
        """Bound the threads: beyond `most_at_once` a look-up fails at once."""
        self._free = threading.BoundedSemaphore(most_at_once)

    async def __call__(self, host: str) -> frozenset[str]:
        """Return the A and AAAA records of `host`.

        Raises:
            OSError: the name does not exist, or the resolver does not answer or is busy.
        """
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[frozenset[str]] = loop.create_future()
        if not self._free.acquire(blocking=False):
            raise OSError("the resolver has not answered earlier look-ups")

        def settle(result: frozenset[str] | Exception) -> None:
            if answer.done():
                return  # whoever asked has gone
            if isinstance(result, Exception):
                answer.set_exception(result)
            else:
                answer.set_result(result)

        def run() -> None:
            try:
                result = _addresses(host)
            except (OSError, UnicodeError) as exc:
                result = exc
            finally:
                self._free.release()
            with contextlib.suppress(RuntimeError):  # the loop was closed meanwhile
                loop.call_soon_threadsafe(settle, result)

        threading.Thread(target=run, name=f"resolve {host}", daemon=True).start()
        return await answer


def _addresses(host: str) -> frozenset[str] | Exception:
    found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    texts = {str(sockaddr[0]) for _, _, _, _, sockaddr in found[:MAX_ADDRESSES]}
    return frozenset(normal_host(text) for text in texts if is_member_address(text))


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
