"""Who may ask the front: this node's programs, by the front's own names, and no web page.

A page in a browser on this node could make requests to loopback, by a host name of its own that it
lets resolve to 127.0.0.1 (DNS rebinding) or directly. The first shows in the Host header, the
second in Origin or Sec-Fetch-*, which container runtimes never send.
"""

import ipaddress
from collections.abc import Collection, Mapping

from shoal.agent.front.answers import Cause, Code, Refusal


class Guard:
    """Checks of a request's origin, before anything else about it is looked at."""

    def __init__(self, *, port: int, names: Collection[str] = (), allow_remote: bool) -> None:
        """Begin to guard.

        Args:
            port: the port that the front listens on.
            names: host names, in lower case, that a Host header may carry besides the loopback
                ones, with or without `port`.
            allow_remote: also take other addresses than loopback, and Host headers that name an
                IP address: a rebinding page cannot have one.
        """
        self._port = port
        self._allow_remote = allow_remote
        self._hosts = {
            f"{host}:{port}" for host in ("127.0.0.1", "[::1]", "localhost", *names)
        } | set(names)

    def check(self, *, remote: str | None, headers: Mapping[str, str]) -> None:
        """Let the request pass, or raise.

        Raises:
            Refusal: the message says which rule, never what a header held.
        """
        if not self._allow_remote and not _is_loopback(remote):
            raise Refusal(
                "the front serves this node only",
                cause=Cause.NOT_LOOPBACK,
                status=403,
                code=Code.DENIED,
            )
        for name in headers:
            lower = name.lower()
            if lower == "origin" or lower.startswith("sec-fetch-"):
                raise Refusal(
                    f"requests of web pages are refused ({lower})",
                    cause=Cause.BROWSER,
                    status=403,
                    code=Code.DENIED,
                )
        host = headers.get("Host", "").lower()
        if host not in self._hosts and not (self._allow_remote and self._is_address(host)):
            raise Refusal(
                f"the Host header must be 127.0.0.1:{self._port}, [::1]:{self._port}, "
                f"localhost:{self._port} or a configured alias",
                cause=Cause.HOST_REFUSED,
                status=403,
                code=Code.DENIED,
            )

    def alias_in(self, host: str, *, aliases: Collection[str]) -> str | None:
        """Return which of `aliases` the Host header `host` is, with or without our port."""
        lower = host.lower()
        for name in (lower, lower.removesuffix(f":{self._port}")):
            if name in aliases:
                return name
        return None

    def _is_address(self, host: str) -> bool:
        address = host.removesuffix(f":{self._port}")
        try:
            ipaddress.ip_address(address.removeprefix("[").removesuffix("]"))
        except ValueError:
            return False
        return True


def _is_loopback(remote: str | None) -> bool:
    try:
        address = ipaddress.ip_address((remote or "").partition("%")[0])
    except ValueError:
        return False
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return address.is_loopback
