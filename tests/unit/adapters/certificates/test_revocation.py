"""Lists of revoked certificates."""

from datetime import UTC, datetime, timedelta

import pytest

from shoal.adapters.certificates.authority import Authority
from shoal.adapters.certificates.errors import CertificateError
from shoal.adapters.certificates.revocation import read_lists

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
ONE, OTHER = Authority.make("edge-1", now=NOW), Authority.make("edge-1", now=NOW)


def test_a_list_is_read_as_it_was_made() -> None:
    made = ONE.revocation_list({7: NOW, 8: NOW + timedelta(hours=1)}, now=NOW)
    (read,) = read_lists(made.pem, [ONE.certificate], name="revoked.crl")
    assert dict(read.revoked) == {7: NOW, 8: NOW + timedelta(hours=1)}
    assert read.issuer == ONE.certificate


def test_of_two_lists_by_one_authority_the_later_counts() -> None:
    old = ONE.revocation_list({7: NOW}, now=NOW)
    new = ONE.revocation_list({7: NOW, 8: NOW}, now=NOW + timedelta(minutes=1))
    for pem in (old.pem + new.pem, new.pem + old.pem):
        (read,) = read_lists(pem, [ONE.certificate], name="revoked.crl")
        assert set(read.revoked) == {7, 8}


def test_an_authority_without_a_list_is_named() -> None:
    pem = ONE.revocation_list({}, now=NOW).pem
    with pytest.raises(CertificateError, match=f"has no list of {OTHER.certificate.name}"):
        read_lists(pem, [ONE.certificate, OTHER.certificate], name="revoked.crl")


def test_lists_of_authorities_that_are_not_trusted_mean_nothing() -> None:
    both = ONE.revocation_list({}, now=NOW).pem + OTHER.revocation_list({7: NOW}, now=NOW).pem
    (read,) = read_lists(both, [ONE.certificate], name="revoked.crl")
    assert not read.revoked


def test_a_list_that_another_has_signed_is_refused() -> None:
    forger = Authority(ONE.certificate, ONE.cluster, OTHER.key)
    with pytest.raises(CertificateError, match="was not signed by it"):
        read_lists(forger.revocation_list({}, now=NOW).pem, [ONE.certificate], name="revoked.crl")


def test_what_is_no_list_is_named() -> None:
    pem = b"-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n"
    with pytest.raises(CertificateError, match=r"^revoked\.crl: a list in it cannot be read"):
        read_lists(pem, [ONE.certificate], name="revoked.crl")
