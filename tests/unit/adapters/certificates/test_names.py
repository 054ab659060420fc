"""The names in a certificate."""

import pytest
from cryptography import x509

from shoal.adapters.certificates.authority import Authority
from shoal.adapters.certificates.keys import make_key
from shoal.adapters.certificates.names import alternative_names, identity_of
from shoal.core.errors import BadInput
from shoal.core.trust.identity import Reason, Refused, Role


def test_names_are_written_once_each_and_in_one_order() -> None:
    addresses = ["node-7.lan", "10.0.0.7", "10.0.0.7", "::ffff:10.0.0.7", "FD00::7"]
    names = alternative_names("edge-1", node="n7", addresses=addresses, roles=[Role.OPERATOR])
    assert [str(name.value) for name in names] == [
        "shoal://edge-1/node/n7",
        "shoal://edge-1/role/operator",
        "10.0.0.7",
        "fd00::7",
        "node-7.lan",
    ]


@pytest.mark.parametrize("address", ["10.0.0.300", "*.lan", "a b", ""])
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(BadInput):
        alternative_names("edge-1", node="n7", addresses=[address], roles=())


def test_an_identity_is_what_the_authority_allowed() -> None:
    authority = Authority.make("edge-1")
    certificate = authority.issue(
        make_key().public_key(), node="n7", addresses=["10.0.0.7", "Node-7.lan"]
    )
    identity = identity_of(certificate.x509)
    assert (identity.cluster, identity.node, str(identity)) == ("edge-1", "n7", "n7 of edge-1")
    assert identity.addresses == {"10.0.0.7", "node-7.lan"}
    assert identity.roles == frozenset()
    assert identity.not_after_s == certificate.not_after.timestamp()


def test_a_name_longer_than_a_subject_may_have_is_cut_there_only() -> None:
    name = "n" * 200
    authority = Authority.make("edge-1")
    certificate = authority.issue(make_key().public_key(), node=name, addresses=["10.0.0.7"])
    assert identity_of(certificate.x509).node == name


def test_a_certificate_without_names_is_refused() -> None:
    with pytest.raises(Refused) as caught:
        identity_of(Authority.make("edge-1").certificate.x509)
    assert caught.value.reason is Reason.MALFORMED


def test_a_wildcard_names_nobody() -> None:
    names = [x509.UniformResourceIdentifier("shoal://edge-1/node/n7"), x509.DNSName("*.lan")]
    key = make_key()
    signed = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([]))
        .issuer_name(x509.Name([]))
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(Authority.make("edge-1").certificate.not_before)
        .not_valid_after(Authority.make("edge-1").certificate.not_after)
        .add_extension(x509.SubjectAlternativeName(names), critical=True)
        .sign(key, None)
    )
    with pytest.raises(Refused, match="malformed name"):
        identity_of(signed)
