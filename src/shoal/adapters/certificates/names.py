"""The names in a certificate: written from what the authority allows, read as an `Identity`."""

from collections.abc import Iterable
from ipaddress import ip_address

from cryptography import x509
from cryptography.x509.oid import NameOID

from shoal.core.endpoint import normal_host
from shoal.core.errors import BadInput
from shoal.core.trust.identity import (
    Identity,
    Reason,
    Refused,
    Role,
    claims_of,
    node_uri,
    role_uri,
)

_COMMON_NAME_MOST = 64  # RFC 5280 appendix A.1, ub-common-name


def alternative_names(
    cluster: str, *, node: str | None, addresses: Iterable[str], roles: Iterable[Role]
) -> list[x509.GeneralName]:
    """Return the names of a certificate, in one order whatever theirs is.

    Raises:
        BadInput: an address is neither an IP address nor a host name.
    """
    names: list[x509.GeneralName] = []
    if node is not None:
        names.append(x509.UniformResourceIdentifier(node_uri(cluster, node)))
    names.extend(
        x509.UniformResourceIdentifier(role_uri(cluster, role)) for role in sorted(set(roles))
    )
    for address in sorted({normal_host(address) for address in addresses}):
        try:
            names.append(x509.IPAddress(ip_address(address)))
        except ValueError:
            names.append(x509.DNSName(address))
    return names


def subject(cluster: str, name: str) -> x509.Name:
    """Return a subject for people to read; Shoal goes by the alternative names."""
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, cluster),
            x509.NameAttribute(NameOID.COMMON_NAME, name[:_COMMON_NAME_MOST]),
        ]
    )


def common_name(certificate: x509.Certificate) -> str:
    """Return the subject's common name, or what stands for it."""
    return _common(certificate.subject)


def issuer_common_name(certificate: x509.Certificate) -> str:
    """Return the issuer's common name, or what stands for it."""
    return _common(certificate.issuer)


def _common(name: x509.Name) -> str:
    found = name.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(found[0].value) if found else name.rfc4514_string()


def identity_of(certificate: x509.Certificate) -> Identity:
    """Return who `certificate` says its holder is. Whether it is true is another question.

    Raises:
        Refused: it has no names of Shoal's, or malformed ones.
    """
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        raise Refused(Reason.MALFORMED, "a certificate without names") from None
    claims = claims_of(names.get_values_for_type(x509.UniformResourceIdentifier))
    try:
        hosts = {normal_host(name) for name in names.get_values_for_type(x509.DNSName)}
    except BadInput as error:
        raise Refused(Reason.MALFORMED, f"a certificate with a malformed name: {error}") from None
    addresses = {normal_host(str(a)) for a in names.get_values_for_type(x509.IPAddress)}
    return Identity(
        cluster=claims.cluster,
        node=claims.node,
        addresses=frozenset(hosts | addresses),
        roles=claims.roles,
        not_after_s=certificate.not_valid_after_utc.timestamp(),
        serial=certificate.serial_number,
        name=common_name(certificate),
    )
