"""The kinds of value that settings take: sizes, rates, times, ports, hosts, members."""

import ipaddress
import re
from collections.abc import Callable
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field

from shoal.core.endpoint import Endpoint, normal_host
from shoal.core.errors import BadInput
from shoal.core.units import parse_duration, parse_rate, parse_size

_REGISTRY_NAME = re.compile(
    r"(?:\[[0-9a-fA-F:.]+\]|[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?)(?::[0-9]{1,5})?", re.ASCII
)
_REDIRECT_HOST = re.compile(r"(?:\*\.)?[A-Za-z0-9][A-Za-z0-9.-]*(?::[0-9]{1,5})?", re.ASCII)
# Source: RFC 1123 labels, as Kubernetes names namespaces and Services.
_KUBERNETES_NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?", re.ASCII)
# Source: Kubernetes documentation, "Object Names and IDs": a DNS subdomain.
_NODE_NAME = re.compile(r"[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?", re.ASCII)
_SITE = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,61}[A-Za-z0-9])?", re.ASCII)

# Below it pieces from half a dozen peers at once would each stand still for longer than the second
# after which a piece is asked for elsewhere.
LEAST_RATE_BYTES_PER_S = 62_500


def _units(parse: Callable[[str], float]) -> Callable[[object], object]:
    def convert(value: object) -> object:
        if isinstance(value, bool):
            raise ValueError(f"expected a number or text with a unit, got {value}")
        return parse(value) if isinstance(value, str) else value

    return convert


def _no_bool(value: object) -> object:
    # YAML's `yes` and `on` are booleans, and a boolean passes for the number 1.
    if isinstance(value, bool):
        raise ValueError(f"expected a whole number, got {value}")
    return value


def _address(text: str) -> str:
    try:
        return str(ipaddress.ip_address(text.removeprefix("[").removesuffix("]")))
    except ValueError:
        raise BadInput(f"expected an IP address, as 127.0.0.1 or ::1, got {text[:80]!r}") from None


def _endpoint(text: str) -> str:
    # Kept as written where it names no port: only the peer section knows the port to take.
    Endpoint.parse(text, default_port=1)
    return text


def _host(text: str) -> str:
    return normal_host(text)


def _registry_name(text: str) -> str:
    if not _REGISTRY_NAME.fullmatch(text):
        raise BadInput(
            f"expected a registry as image references name it, as docker.io or "
            f"registry.example.com:5000, got {text[:80]!r}"
        )
    return text.lower()


def _redirect_host(text: str) -> str:
    if not _REDIRECT_HOST.fullmatch(text):
        raise BadInput(
            f"expected a host, host:port or *.domain, as *.oss-cn-hangzhou.aliyuncs.com, "
            f"got {text[:80]!r}"
        )
    return text.lower()


def _node_name(text: str) -> str:
    if not _NODE_NAME.fullmatch(text):
        raise BadInput(
            f"expected the name of a node in Kubernetes, lower-case letters, digits, dots and "
            f"hyphens, got {text[:80]!r}"
        )
    return text


def _kubernetes_name(text: str) -> str:
    if not _KUBERNETES_NAME.fullmatch(text):
        raise BadInput(
            f"expected 1 to 63 lower-case letters, digits or hyphens, as Kubernetes names a "
            f"namespace or Service, got {text[:80]!r}"
        )
    return text


def _site(text: str) -> str:
    if not _SITE.fullmatch(text):
        raise BadInput(
            f"expected 1 to 63 letters, digits, dots, hyphens or underscores, got {text[:80]!r}"
        )
    return text


def _base_url(text: str) -> str:
    if not text:
        return text
    form = "a base URL without user, query or fragment, as https://registry.example.com:5000"
    try:
        url = urlsplit(text)
        port_is_right = url.port is None or url.port > 0
    except ValueError:
        raise BadInput(f"expected {form}") from None
    # The text is not echoed: what stands before an @ in it would be a password.
    if url.scheme not in ("http", "https") or not url.hostname or not port_is_right:
        raise BadInput(f"expected {form}")
    if url.username is not None or url.query or url.fragment or url.path not in ("", "/"):
        raise BadInput(f"expected {form}")
    return text.rstrip("/")


def _absolute(path: Path) -> Path:
    if not path.is_absolute():
        raise BadInput(f"expected an absolute path, got {str(path)[:160]!r}")
    return path


def _usable_rate(bytes_per_s: int) -> int:
    if bytes_per_s < LEAST_RATE_BYTES_PER_S:
        raise BadInput(
            f"expected a rate of at least 500kbit/s (62500), or nothing for no limit, got "
            f"{bytes_per_s}"
        )
    return bytes_per_s


# Port 0 lets the kernel pick one: for tests and the demo, whose ports must not clash.
Port = Annotated[int, BeforeValidator(_no_bool), Field(ge=0, le=65535)]
Count = Annotated[int, BeforeValidator(_no_bool), Field(ge=1)]
Size = Annotated[int, BeforeValidator(_units(parse_size)), Field(ge=0)]
Rate = Annotated[int, BeforeValidator(_units(parse_rate)), AfterValidator(_usable_rate)]
Seconds = Annotated[
    float, BeforeValidator(_units(parse_duration)), Field(gt=0, allow_inf_nan=False)
]
Address = Annotated[str, AfterValidator(_address)]
HostName = Annotated[str, AfterValidator(_host)]
Member = Annotated[str, AfterValidator(_endpoint)]
RegistryName = Annotated[str, AfterValidator(_registry_name)]
RedirectHost = Annotated[str, AfterValidator(_redirect_host)]
KubernetesName = Annotated[str, AfterValidator(_kubernetes_name)]
NodeName = Annotated[str, AfterValidator(_node_name)]
SiteName = Annotated[str, AfterValidator(_site)]
BaseUrl = Annotated[str, AfterValidator(_base_url)]
AbsolutePath = Annotated[Path, AfterValidator(_absolute)]
