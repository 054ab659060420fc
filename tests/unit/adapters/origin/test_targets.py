"""Targets: which addresses a registry may send us to, and how they can be written."""

import socket

import pytest
from aiohttp.abc import ResolveResult
from yarl import URL

from shoal.adapters.origin.config import RegistryConfig
from shoal.adapters.origin.targets import (
    AddressRefused,
    GuardedResolver,
    address_fault,
    check_listed_realm,
    check_target,
    is_exempt,
    origin_of,
)
from shoal.core.errors import OriginDenied, OriginError

PLAIN = RegistryConfig("r.example", url="http://r.example", plain_http=True)


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "127.255.255.254",
        "::1",
        "::ffff:127.0.0.1",
        "64:ff9b::7f00:1",
        "2002:7f00:1::",
        "169.254.169.254",
        "169.254.0.1",
        "fe80::1",
        "fe80::1%eth0",
        "::ffff:169.254.169.254",
        "64:ff9b::a9fe:a9fe",
        "fd00:ec2::254",
        "100.100.100.200",
        "::ffff:100.100.100.200",
        "0.0.0.0",
        "::",
        "224.0.0.1",
        "ff02::1",
    ],
)
def test_an_internal_address_is_no_target(address: str) -> None:
    assert address_fault(address) is not None


@pytest.mark.parametrize(
    "address",
    ["1.1.1.1", "10.0.0.1", "192.168.1.1", "100.118.28.49", "fd00::1", "2606:4700::1111"],
)
def test_public_and_private_network_addresses_are_targets(address: str) -> None:
    assert address_fault(address) is None


def test_two_urls_share_credentials_only_if_scheme_host_and_port_agree() -> None:
    assert origin_of(URL("https://R.example./a")) == origin_of(URL("https://r.example:443/b"))
    for other in ("http://r.example/", "https://r.example:444/", "https://s.r.example/"):
        assert origin_of(URL(other)) != origin_of(URL("https://r.example/"))


def test_the_registrys_own_host_is_exempt_on_any_port_and_others_by_name() -> None:
    registry = RegistryConfig(
        "r.example:5000", redirect_hosts=("Storage.example", "[::1]:9000", "s.example:1")
    )
    assert is_exempt(registry, "r.example", 9000)
    assert is_exempt(registry, "storage.example.", 1)
    assert is_exempt(registry, "::1", 9000)
    assert is_exempt(registry, "s.example", 1)
    assert not is_exempt(registry, "::1", 9001)
    assert not is_exempt(registry, "s.example", 2)
    assert not is_exempt(registry, "example", 1)


@pytest.mark.parametrize(
    ("url", "complaint"),
    [
        ("http://127.1/", "unusual spelling"),
        ("http://0x7f000001/", "unusual spelling"),
        ("http://2130706433/", "unusual spelling"),
        ("http://127.0.0.1./", "unusual spelling|loopback"),
        ("http://me@s.example/", "credentials"),
        ("file:///etc/passwd", "no http or https"),
        ("/relative", "no http or https"),
    ],
)
def test_a_target_is_refused_by_what_its_url_shows(url: str, complaint: str) -> None:
    with pytest.raises(OriginError, match=complaint):
        check_target(PLAIN, URL(url, encoded=True), what="redirect")
    check_target(PLAIN, URL("http://storage.example/"), what="redirect")


class OneAnswer(GuardedResolver):
    """Resolves every name to the same addresses."""

    def __init__(self, registry: RegistryConfig, *addresses: str) -> None:
        super().__init__(registry)
        self.addresses = addresses

    async def look_up(
        self, host: str, port: int, family: socket.AddressFamily
    ) -> list[ResolveResult]:
        """Return the addresses given to the constructor."""
        return [
            ResolveResult(hostname=host, host=a, port=port, family=family, proto=6, flags=0)
            for a in self.addresses
        ]


async def test_a_name_is_judged_by_every_address_behind_it() -> None:
    assert await OneAnswer(PLAIN, "1.1.1.1").resolve("s.example", 80)
    for addresses in (("127.0.0.1",), ("1.1.1.1", "169.254.169.254"), ("fd00:ec2::254",)):
        with pytest.raises(AddressRefused, match="add it to redirect_hosts"):
            await OneAnswer(PLAIN, *addresses).resolve("s.example", 80)
    assert await OneAnswer(PLAIN, "127.0.0.1").resolve("r.example", 80)


@pytest.mark.parametrize(
    ("url", "listed"),
    [
        ("https://registry.example/token", ()),
        ("https://REGISTRY.example:8443/token", ()),
        ("https://auth.example/token", ("auth.example",)),
        ("https://auth.example:8443/token", ("auth.example:8443",)),
        ("https://a.auth.example/token", ("*.auth.example",)),
        ("https://[2001:db8::1]/token", ("[2001:db8::1]",)),
    ],
)
def test_the_nodes_own_credential_goes_to_the_registrys_host_and_to_listed_realms(
    url: str, listed: tuple[str, ...]
) -> None:
    check_listed_realm(RegistryConfig("registry.example", realm_hosts=listed), URL(url))


@pytest.mark.parametrize(
    ("url", "listed"),
    [
        ("https://auth.example/token", ()),
        ("https://auth.example:8443/token", ("auth.example:8444",)),
        ("https://auth.example/token", ("*.auth.example",)),
        ("https://evil-auth.example/token", ("auth.example",)),
        ("https://registry.example.evil/token", ()),
        ("https://auth.docker.io/token", ()),
    ],
)
def test_and_to_no_other(url: str, listed: tuple[str, ...]) -> None:
    with pytest.raises(OriginDenied, match="add it to realm_hosts"):
        check_listed_realm(RegistryConfig("registry.example", realm_hosts=listed), URL(url))


def test_docker_hubs_realm_is_listed_without_saying_so() -> None:
    check_listed_realm(RegistryConfig("docker.io"), URL("https://auth.docker.io/token"))
