"""Requests: what a node may ask for, and what a hostile one gets."""

import base64

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID

from shoal.adapters.certificates.authority import Authority
from shoal.adapters.certificates.errors import CertificateError
from shoal.adapters.certificates.keys import make_key
from shoal.adapters.certificates.requests import make_request

AUTHORITY = Authority.make("edge-1")
KEY = make_key()


def _request(*extensions: x509.ExtensionType) -> bytes:
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    for extension in extensions:
        builder = builder.add_extension(extension, critical=True)
    return builder.sign(KEY, None).public_bytes(Encoding.PEM)


def _names(*names: x509.GeneralName) -> bytes:
    return _request(x509.SubjectAlternativeName(names))


def test_a_node_gets_the_names_that_the_caller_allows() -> None:
    request = make_request(KEY, cluster="edge-1", node="n7", addresses=["10.0.0.7"])
    certificate = AUTHORITY.sign_request(request, node="n7", addresses=["10.0.0.7", "10.1.0.7"])
    assert certificate.public_key == KEY.public_key()
    assert certificate.identity.node == "n7"
    assert certificate.identity.addresses == {"10.0.0.7", "10.1.0.7"}


def test_a_request_without_names_gets_those_too() -> None:
    usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH])
    certificate = AUTHORITY.sign_request(_request(usage), node="n7", addresses=["10.0.0.7"])
    assert certificate.identity.addresses == {"10.0.0.7"}


@pytest.mark.parametrize(
    ("request_pem", "said"),
    [
        (_request(x509.BasicConstraints(ca=True, path_length=None)), "certificate authority"),
        (_names(x509.UniformResourceIdentifier("shoal://edge-1/node/n8")), "node/n8"),
        (_names(x509.UniformResourceIdentifier("shoal://edge-1/role/operator")), "role/operator"),
        (_names(x509.UniformResourceIdentifier("shoal://edge-2/node/n7")), "edge-2"),
        (_names(x509.DNSName("n8.lan")), "n8.lan"),
        (make_request(KEY, cluster="edge-1", node="n7", addresses=["10.0.0.8"]), "10.0.0.8"),
        (_request(x509.NameConstraints(None, [x509.DNSName("x")])), "2.5.29.30"),
    ],
)
def test_a_request_for_more_than_the_nodes_own_is_refused(request_pem: bytes, said: str) -> None:
    with pytest.raises(CertificateError, match=said):
        AUTHORITY.sign_request(request_pem, node="n7", addresses=["10.0.0.7"])


def test_a_request_that_does_not_prove_its_key_is_refused() -> None:
    pem = _request()
    request = x509.load_pem_x509_csr(pem)
    der = bytearray(request.public_bytes(Encoding.DER))
    der[-1] ^= 1
    body = base64.encodebytes(bytes(der))
    forged = (
        b"-----BEGIN CERTIFICATE REQUEST-----\n" + body + b"-----END CERTIFICATE REQUEST-----\n"
    )
    with pytest.raises(CertificateError, match="was not signed by the key"):
        AUTHORITY.sign_request(forged, node="n7", addresses=["10.0.0.7"])


def test_a_request_for_another_kind_of_key_is_refused() -> None:
    key = rsa.generate_private_key(65537, 1024)  # noqa: S505 - refused whatever its length
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    pem = builder.sign(key, SHA256()).public_bytes(Encoding.PEM)
    with pytest.raises(CertificateError, match="neither Ed25519 nor P-256"):
        AUTHORITY.sign_request(pem, node="n7", addresses=["10.0.0.7"])


@pytest.mark.parametrize("pem", [b"", b"x" * 20_000, b"-----BEGIN CERTIFICATE REQUEST-----"])
def test_what_is_no_request_is_refused(pem: bytes) -> None:
    with pytest.raises(CertificateError, match="request"):
        AUTHORITY.sign_request(pem, node="n7", addresses=["10.0.0.7"])
