"""What people may type into the console's forms, each as one function that returns it clean."""

import ipaddress
import json
import re
from collections.abc import Callable
from enum import StrEnum
from typing import TypeVar
from urllib.parse import SplitResult, urlsplit

from shoal.core.console.models import Edition, PoolKind
from shoal.core.errors import BadInput

Check = Callable[[str], str]

_INSTANCE_NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]{1,28}[a-z0-9])", re.ASCII)
_REGION = re.compile(r"[a-z]{2,12}(?:-[a-z0-9]{1,16}){1,3}", re.ASCII)
_VPC = re.compile(r"vpc-[A-Za-z0-9]{1,40}", re.ASCII)
_VSWITCH = re.compile(r"vsw-[A-Za-z0-9]{1,40}", re.ASCII)
_POOL = re.compile(r"np[A-Za-z0-9]{1,60}", re.ASCII)
_CLUSTER = re.compile(r"c[a-z0-9]{1,62}", re.ASCII)
_PRINCIPAL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}", re.ASCII)
_K8S_NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,51}[a-z0-9])?", re.ASCII)
_VERSION = re.compile(r"v?(\d{1,3})\.(\d{1,3})\.(\d{1,3})(?:[-+][0-9A-Za-z.+-]{1,40})?", re.ASCII)
_DOMAIN = re.compile(
    r"(?=.{1,253}\Z)(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z0-9-]{2,63}(?::[0-9]{1,5})?",
    re.ASCII,
)
_ARN = re.compile(r"acs:ram::\d{1,32}:(?:role|oidc-provider)/[A-Za-z0-9._/-]{1,128}", re.ASCII)

MIN_EXPIRE_S, MAX_EXPIRE_S = 3600, 43200  # Source: the documentation of expireDuration


def _matching(pattern: re.Pattern[str], expected: str) -> Check:
    def check(text: str) -> str:
        if not pattern.fullmatch(text):
            raise BadInput(expected)
        return text

    return check


instance_name = _matching(_INSTANCE_NAME, "3 to 30 lower-case letters, digits and hyphens")
region = _matching(_REGION, "a region such as cn-hangzhou or eu-central-1")
vpc_id = _matching(_VPC, "a VPC's id, such as vpc-bp1abc")
vswitch_id = _matching(_VSWITCH, "a vSwitch's id, such as vsw-bp1abc")
pool_id = _matching(_POOL, "a node pool's id, not its name, such as np8b6aaa89e93a44")
cluster_id = _matching(_CLUSTER, "a cluster's id, such as c1a2b3c4d5")
principal = _matching(_PRINCIPAL, "1 to 63 letters, digits, dots, hyphens and underscores")
kubernetes_name = _matching(_K8S_NAME, "lower-case letters, digits and hyphens, at most 53")
version = _matching(_VERSION, "a version of three numbers, such as 1.28.3")
domain = _matching(_DOMAIN, "a domain, such as team-registry-vpc.cn-hangzhou.cr.aliyuncs.com")
arn = _matching(_ARN, "an ARN, such as acs:ram::1234567890:role/edge-p2p")


def version_numbers(text: str) -> tuple[int, int, int]:
    """Return the three numbers of a version that `version` has accepted.

    Raises:
        BadInput: It is none.
    """
    found = _VERSION.fullmatch(text)
    if found is None:
        raise BadInput("a version of three numbers, such as 1.28.3")
    return int(found[1]), int(found[2]), int(found[3])


def optional(check: Check) -> Check:
    """Return `check` for a field that may be empty."""
    return lambda text: check(text) if text else ""


def line(text: str) -> str:
    """Return one line of free text, of at most 200 characters."""
    if len(text) > 200 or not text.isprintable():
        raise BadInput("one line of at most 200 characters")
    return text


def address(text: str) -> str:
    """Return an IP address in its shortest form."""
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        raise BadInput("an IP address, such as 192.168.1.20") from None


def cidrs(text: str) -> str:
    """Return networks in their usual form, one a line."""
    try:
        return "\n".join(str(ipaddress.ip_network(word)) for word in _words(text))
    except ValueError as error:
        raise BadInput(f"networks such as 10.0.0.0/8, one a line: {error}") from None


def domains(text: str) -> str:
    """Return domains, one a line, at least one."""
    words = _words(text)
    if not words:
        raise BadInput("at least one domain")
    for word in words:
        try:
            domain(word)
        except BadInput:
            raise BadInput(f"domains such as registry.example.com, not {word[:80]!r}") from None
    return "\n".join(words)


def registry_url(text: str) -> str:
    """Return the address of a registry: scheme, host and port, nothing behind."""
    parts = _web_address(text, "an address such as https://registry.example.com")
    if parts.username or parts.password:
        raise BadInput("an address without a user or password: those are the runtime's business")
    if parts.path not in ("", "/") or parts.query or parts.fragment:
        raise BadInput("only scheme, host and port, such as https://registry.example.com:5000")
    return text.rstrip("/")


def issuer(text: str) -> str:
    """Return an OIDC issuer, exactly as its tokens spell it."""
    expected = "an issuer's URL, such as https://oidc.example.com/c1a2b3"
    parts = _web_address(text, expected)
    if parts.query or parts.fragment or parts.username:
        raise BadInput(expected)
    return text


def _web_address(text: str, expected: str) -> SplitResult:
    try:
        parts = urlsplit(text)
        usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        raise BadInput(expected) from None
    if not usable or len(text) > 300 or not text.isprintable() or " " in text:
        raise BadInput(expected)
    return parts


def whole(lowest: int, highest: int) -> Check:
    """Return a check for a whole number between two, both included."""

    def check(text: str) -> str:
        if not re.fullmatch(r"[0-9]{1,9}", text) or not lowest <= int(text) <= highest:
            raise BadInput(f"a whole number from {lowest} to {highest}")
        return str(int(text))

    return check


port = whole(1, 65535)

E = TypeVar("E", bound=StrEnum)


def one_of(kind: type[E]) -> Check:
    """Return a check for one of an enum's values."""

    def check(text: str) -> str:
        if text not in list(kind):
            raise BadInput(f"one of {', '.join(kind)}")
        return text

    return check


edition = one_of(Edition)
pool_kind = one_of(PoolKind)


def _words(text: str) -> list[str]:
    return list(dict.fromkeys(text.replace(",", " ").split()))


def key_set(text: str) -> str:
    """Return a JWK set, or "" to have the keys asked of the issuer."""
    if not text:
        return ""
    try:
        document = json.loads(text)
        usable = isinstance(document["keys"], list) and len(text) <= 20_000
    except (ValueError, KeyError, TypeError, RecursionError):
        usable = False
    if not usable:
        raise BadInput('a JWK set: {"keys": [ … ]}, or nothing')
    return text
