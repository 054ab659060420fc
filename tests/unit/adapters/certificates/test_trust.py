"""Whose certificates are believed, for how long, and through a change of authority."""

from datetime import UTC, datetime, timedelta

import pytest

from shoal.adapters.certificates.authority import Authority
from shoal.adapters.certificates.certificate import Certificate
from shoal.adapters.certificates.errors import CertificateError
from shoal.adapters.certificates.keys import make_key
from shoal.adapters.certificates.trust import Trust
from shoal.core.trust.identity import Reason, Refused

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
OURS = Authority.make("edge-1", now=NOW)


def _node(authority: Authority, *, days: float = 365) -> Certificate:
    return authority.issue(
        make_key().public_key(), node="n7", addresses=["10.0.0.7"], days=days, now=NOW
    )


def _reason(trust: Trust, certificate: Certificate, *, now: datetime = NOW) -> Reason:
    with pytest.raises(Refused) as caught:
        trust.identity(certificate.der, now=now)
    return caught.value.reason


def test_what_the_authority_signed_is_believed() -> None:
    assert Trust((OURS.certificate,)).identity(_node(OURS).der, now=NOW).node == "n7"


def test_an_authority_of_the_same_cluster_that_is_not_in_the_bundle_is_not() -> None:
    assert _reason(Trust((OURS.certificate,)), _node(Authority.make("edge-1", now=NOW))) is (
        Reason.OTHER_CLUSTER
    )


def test_an_authority_signs_for_no_other_cluster_even_if_it_is_trusted() -> None:
    stranger = Authority.make("edge-2", now=NOW)
    pretender = Authority(stranger.certificate, "edge-1", stranger.key)
    trust = Trust((OURS.certificate, stranger.certificate))
    assert _reason(trust, _node(pretender)) is Reason.OTHER_CLUSTER


def test_certificates_hold_between_their_dates() -> None:
    trust, node = Trust((OURS.certificate,)), _node(OURS, days=1)
    assert _reason(trust, node, now=NOW + timedelta(days=2)) is Reason.EXPIRED
    assert _reason(trust, node, now=NOW - timedelta(days=2)) is Reason.NOT_YET_VALID
    trust.identity(node.der, now=NOW + timedelta(hours=23))
    assert trust.signed(node).node == "n7"


def test_what_was_revoked_is_refused_with_when() -> None:
    good, bad = _node(OURS), _node(OURS)
    lists = OURS.revocation_list({bad.serial: NOW}, now=NOW)
    trust = Trust.read(OURS.certificate.pem, lists.pem)
    trust.identity(good.der, now=NOW)
    with pytest.raises(Refused, match="was revoked at 2026-11-24 12:00 UTC") as caught:
        trust.identity(bad.der, now=NOW)
    assert caught.value.reason is Reason.REVOKED
    assert trust.lists_pem == lists.pem


def test_while_authorities_change_both_are_believed_and_afterwards_one() -> None:
    new = Authority.make("edge-1", now=NOW)
    overlap = Trust.read(new.certificate.pem + OURS.certificate.pem)
    for authority in (OURS, new):
        overlap.identity(_node(authority).der, now=NOW)
    after = Trust.read(new.certificate.pem)
    after.identity(_node(new).der, now=NOW)
    assert _reason(after, _node(OURS)) is Reason.OTHER_CLUSTER
    assert overlap.bundle_pem == new.certificate.pem + OURS.certificate.pem


def test_a_bundle_of_what_cannot_sign_is_refused() -> None:
    with pytest.raises(CertificateError, match=r"^ca\.crt: n7 is no certificate authority"):
        Trust.read(_node(OURS).pem, name="ca.crt")
