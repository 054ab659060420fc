"""A certificate as the rest of Shoal sees it."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shoal.adapters.certificates.authority import Authority
from shoal.adapters.certificates.certificate import Certificate, pem_blocks, read_certificates
from shoal.adapters.certificates.errors import CertificateError
from shoal.adapters.certificates.keys import make_key, sign
from shoal.adapters.certificates.trust import Trust
from shoal.core.trust.identity import Reason, Refused

AUTHORITY = Authority.make("edge-1")
KEY = make_key()
NODE = AUTHORITY.issue(KEY.public_key(), node="n7", addresses=["10.0.0.7"])


def test_a_certificate_is_the_same_by_pem_and_by_der() -> None:
    assert Certificate.from_der(NODE.der) == NODE
    assert read_certificates(b"text before\n" + NODE.pem, name="tls.crt") == (NODE,)
    assert len(bytes.fromhex(NODE.fingerprint)) == 32


def test_a_bundle_is_read_whole_and_in_order() -> None:
    both = NODE.pem + AUTHORITY.certificate.pem
    assert read_certificates(both, name="x") == (NODE, AUTHORITY.certificate)


def test_what_its_holder_signed_is_told_from_what_others_did() -> None:
    assert NODE.verifies(sign(KEY, b"receipt"), b"receipt")
    assert not NODE.verifies(sign(make_key(), b"receipt"), b"receipt")


@pytest.mark.parametrize("der", [b"", b"\x30\x00", NODE.der[:-1], bytes(70_000)])
def test_bytes_that_are_no_certificate_are_refused(der: bytes) -> None:
    with pytest.raises(Refused) as caught:
        Certificate.from_der(der)
    assert caught.value.reason is Reason.MALFORMED


@pytest.mark.filterwarnings("ignore:Parsed a serial number")  # which is refused afterwards
@settings(max_examples=200, deadline=None)
@given(st.integers(0, len(NODE.der) - 1), st.integers(1, 255))
def test_a_certificate_with_any_byte_changed_is_nobodys(at: int, by: int) -> None:
    der = bytearray(NODE.der)
    der[at] ^= by
    try:
        certificate = Certificate.from_der(bytes(der))
        Trust((AUTHORITY.certificate,)).signed(certificate)
    except Refused:
        return
    # The count of unused bits before the signature: what was signed is the same.
    assert certificate.x509.tbs_certificate_bytes == NODE.x509.tbs_certificate_bytes


@pytest.mark.parametrize(
    "pem", [b"", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"]
)
def test_a_file_without_a_readable_certificate_is_named(pem: bytes) -> None:
    with pytest.raises(CertificateError, match=r"^/etc/shoal/tls\.crt: "):
        read_certificates(pem, name="/etc/shoal/tls.crt")


def test_only_blocks_of_the_kind_asked_for_are_found() -> None:
    pem = NODE.pem + AUTHORITY.revocation_list({}).pem
    assert list(pem_blocks(pem, b"CERTIFICATE")) == [NODE.pem]
    assert list(pem_blocks(NODE.pem.replace(b"END", b"ENDE"), b"CERTIFICATE")) == []
