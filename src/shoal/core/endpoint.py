"""A host and a port as one text: `10.0.0.7:65002`, `node-7:65002`, `[fd00::7]:65002`."""

import ipaddress
import re
from dataclasses import dataclass

from shoal.core.errors import BadInput

# Source: RFC 1123 section 2.1 for letters, digits, hyphens and the length of 255; underscores are
# no part of it but resolve in practice.
_HOST_NAME = re.compile(r"(?=.{1,255}\Z)[A-Za-z0-9_](?:[A-Za-z0-9_.-]*[A-Za-z0-9_])?\.?", re.ASCII)
_PORT = re.compile(r"[0-9]{1,5}", re.ASCII)
ENDPOINT_FORM = "host:port, as 10.0.0.7:65002, node-7:65002 or [fd00::7]:65002"


@dataclass(frozen=True, slots=True, order=True)
class Endpoint:
    """Where something listens. `host` is an IP address in its shortest form, or a name."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str, *, default_port: int | None = None) -> "Endpoint":
        """Return the endpoint that `text` spells.

        Args:
            text: host and port; an IPv6 address stands in brackets.
            default_port: port to take where `text` names none; None means that it must.

        Raises:
            BadInput: not a host, or a port outside 1..65535.
        """
        wrong = BadInput(f"expected {ENDPOINT_FORM}, got {text[:160]!r}")
        if text.startswith("["):
            host, bracket, rest = text[1:].partition("]")
            if not bracket or (rest and not rest.startswith(":")):
                raise wrong
            port_text = rest[1:] if rest else None
            if ":" not in host:
                raise wrong
        elif text.count(":") > 1:
            raise wrong  # an IPv6 address without brackets: where does the port begin?
        else:
            host, colon, after = text.partition(":")
            port_text = after if colon else None
        if port_text is None:
            if default_port is None:
                raise wrong
            port = default_port
        elif _PORT.fullmatch(port_text) and 1 <= int(port_text) <= 65535:
            port = int(port_text)
        else:
            raise wrong
        try:
            return cls(normal_host(host), port)
        except BadInput:
            raise wrong from None

    @property
    def is_address(self) -> bool:
        """Whether `host` is an IP address, so that no resolver is needed."""
        try:
            ipaddress.ip_address(self.host)
        except ValueError:
            return False
        return True

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def normal_host(text: str) -> str:
    """Return `text` as an IP address in its shortest form, or as a lower-case host name.

    Raises:
        BadInput: neither.
    """
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        # What looks like an IPv4 address and is none (10.0.0.300) must not become a name.
        if not _HOST_NAME.fullmatch(text) or re.fullmatch(r"[0-9.]+", text):
            raise BadInput(f"expected a host name or IP address, got {text[:160]!r}") from None
        return text.lower().rstrip(".")
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(address)
