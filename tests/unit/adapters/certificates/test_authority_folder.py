"""An authority in a folder: from the first certificate through a replacement of the authority."""

import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from shoal.adapters.certificates.authority_folder import AuthorityFolder
from shoal.adapters.certificates.credentials import CredentialFiles, Credentials
from shoal.adapters.certificates.errors import CertificateError
from shoal.adapters.certificates.keys import make_key
from shoal.adapters.certificates.requests import make_request
from shoal.core.trust.identity import Reason, Refused, Role

NOW = datetime.now(UTC)


@pytest.fixture
def folder(tmp_path: Path) -> AuthorityFolder:
    return AuthorityFolder.make(tmp_path / "ca", "edge-1")


def _files(folder: Path) -> CredentialFiles:
    return CredentialFiles(
        folder / "tls.crt", folder / "tls.key", folder / "ca.crt", folder / "revoked.crl"
    )


def test_what_is_handed_out_is_what_an_agent_reads(folder: AuthorityFolder, tmp_path: Path) -> None:
    issued = folder.issue(node="n1", addresses=["10.0.0.1"])
    folder.hand_out(tmp_path / "n1", issued)
    credentials = Credentials.read(_files(tmp_path / "n1"))
    assert credentials.identity.node == "n1"
    assert credentials.identity.cluster == folder.cluster == "edge-1"
    assert "PRIVATE" not in repr(issued)


def test_keys_are_their_owners_alone(folder: AuthorityFolder, tmp_path: Path) -> None:
    folder.hand_out(tmp_path / "n1", folder.issue(node="n1", addresses=["10.0.0.1"]))
    for path in tmp_path.rglob("*.key"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.path.stat().st_mode) == 0o700


def test_nothing_is_written_over_unasked(folder: AuthorityFolder, tmp_path: Path) -> None:
    with pytest.raises(CertificateError, match="there is an authority already"):
        AuthorityFolder.make(folder.path, "edge-1")
    issued = folder.issue(node="n1", addresses=["10.0.0.1"])
    folder.hand_out(tmp_path / "n1", issued)
    with pytest.raises(CertificateError, match="is there already"):
        folder.hand_out(tmp_path / "n1", issued)
    with pytest.raises(CertificateError, match="--replace"):
        folder.require_free(tmp_path / "n1", with_key=True, replace=False)
    folder.require_free(tmp_path / "n1", with_key=True, replace=True)
    folder.hand_out(tmp_path / "n1", issued, replace=True)


def test_a_request_is_signed_and_the_key_stays_where_it_was_made(
    folder: AuthorityFolder, tmp_path: Path
) -> None:
    request = make_request(make_key(), cluster="edge-1", node="n1")
    issued = folder.issue(node="n1", addresses=["10.0.0.1"], request=request)
    (tmp_path / "n1").mkdir()
    (tmp_path / "n1" / "tls.key").touch()
    folder.require_free(tmp_path / "n1", with_key=False, replace=False)
    folder.hand_out(tmp_path / "n1", issued)
    assert not (tmp_path / "n1" / "tls.key").read_bytes()
    with pytest.raises(CertificateError, match="name it"):
        folder.issue(request=request)


def test_every_certificate_is_remembered_the_latest_of_each_name_as_current(
    folder: AuthorityFolder,
) -> None:
    old = folder.issue(node="n1", addresses=["10.0.0.1"], now=NOW - timedelta(minutes=5))
    new = folder.issue(node="n1", addresses=["10.0.0.1"])
    operator = folder.issue(roles=[Role.OPERATOR], name="alice")
    read = AuthorityFolder(folder.path)
    assert read.issued() == (operator.certificate, old.certificate, new.certificate)
    assert read.current() == {"alice": operator.certificate, "n1": new.certificate}


def test_what_is_revoked_stays_revoked(folder: AuthorityFolder) -> None:
    one, two, three = (
        folder.issue(node=name, addresses=["10.0.0.1"]).certificate for name in ("n1", "n2", "n3")
    )
    folder.revoke([one])
    folder.revoke([two])
    trust = AuthorityFolder(folder.path).trust
    for certificate in (one, two):
        with pytest.raises(Refused) as caught:
            trust.verified(certificate, now=datetime.now(UTC))
        assert caught.value.reason is Reason.REVOKED
    assert trust.verified(three, now=datetime.now(UTC)).node == "n3"


def test_a_certificate_of_another_authority_cannot_be_revoked(
    folder: AuthorityFolder, tmp_path: Path
) -> None:
    other = AuthorityFolder.make(tmp_path / "other", "edge-1")
    stranger = other.issue(node="n1", addresses=["10.0.0.1"]).certificate
    with pytest.raises(Refused, match="not trusted"):
        folder.revoke([stranger])


def test_an_authority_is_replaced_with_both_trusted_until_the_end(
    folder: AuthorityFolder,
) -> None:
    old, gone = (
        folder.issue(node=name, addresses=["10.0.0.1"]).certificate for name in ("n1", "n2")
    )
    folder.revoke([gone])
    before = folder.signer.certificate
    folder.rotate()
    folder = AuthorityFolder(folder.path)
    assert folder.is_rotating
    assert folder.signer.certificate != before
    with pytest.raises(CertificateError, match="--finish"):
        folder.rotate()
    assert folder.left_behind(now=datetime.now(UTC)) == ("n1",)
    new = folder.issue(node="n1", addresses=["10.0.0.1"]).certificate
    for certificate in (old, new):
        folder.trust.verified(certificate, now=datetime.now(UTC))
    folder.revoke([])  # and what the old one had revoked stays so
    with pytest.raises(Refused, match="revoked"):
        folder.trust.verified(gone, now=datetime.now(UTC))

    assert folder.left_behind(now=datetime.now(UTC)) == ()
    assert folder.finish() == (before,)
    folder = AuthorityFolder(folder.path)
    assert not folder.is_rotating
    assert len(list((folder.path / "keys").iterdir())) == 1
    folder.trust.verified(new, now=datetime.now(UTC))
    with pytest.raises(Refused):
        folder.trust.verified(old, now=datetime.now(UTC))
    with pytest.raises(CertificateError, match="no replacement to finish"):
        folder.finish()


def test_a_folder_without_an_authority_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(CertificateError, match="shoal certs init"):
        AuthorityFolder(tmp_path)
