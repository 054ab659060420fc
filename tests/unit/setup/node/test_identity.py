"""Identity: one key for good, a certificate that is renewed in time, nothing lost on failure."""

from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509

from shoal.adapters.certificates.errors import CertificateError
from shoal.adapters.certificates.keys import make_key
from shoal.core.errors import ShoalError
from shoal.setup.node.controller import ControllerError
from shoal.setup.node.identity import Identity, Renewing
from unit.setup.node.signing import ADDRESS, DAYS, Signing


@pytest.fixture
def signing(tmp_path: Path) -> Signing:
    return Signing(tmp_path)


@pytest.fixture
def identity(signing: Signing) -> Identity:
    return signing.identity()


def test_a_new_node_has_a_key_that_only_it_reads_and_a_certificate(identity: Identity) -> None:
    assert identity.is_due
    assert not identity.is_good
    identity.renew()
    assert identity.is_good
    assert not identity.is_due
    modes = {path.name: path.stat().st_mode & 0o777 for path in identity.folder.iterdir()}
    assert modes == {"tls.key": 0o600, "tls.crt": 0o644}
    assert identity.folder.stat().st_mode & 0o777 == 0o700


def test_the_files_are_the_agents(signing: Signing) -> None:
    identity = signing.identity()
    identity.owner = (65532, 65532)
    try:
        identity.renew()
    except ShoalError:
        pytest.skip("only root gives files away")
    for path in (identity.folder, *identity.folder.iterdir()):
        assert (path.stat().st_uid, path.stat().st_gid) == (65532, 65532)


def test_it_is_renewed_with_a_third_of_its_life_left_under_the_same_key(
    signing: Signing, identity: Identity
) -> None:
    identity.renew()
    key = (identity.folder / "tls.key").read_bytes()
    signing.now += timedelta(days=DAYS * 0.66)
    assert not identity.is_due
    signing.now += timedelta(days=DAYS * 0.02)
    assert identity.is_due
    assert identity.is_good
    identity.renew()
    assert not identity.is_due
    assert (identity.folder / "tls.key").read_bytes() == key


def test_nodes_that_were_installed_together_do_not_come_back_together(signing: Signing) -> None:
    early, late = signing.identity(), signing.identity()
    early.jitter = lambda: 0.0
    early.__post_init__()
    early.renew()
    signing.now += timedelta(days=DAYS * 0.6)
    assert (early.is_due, late.is_due) == (True, False)


def test_a_certificate_that_peers_would_refuse_is_none(
    signing: Signing, identity: Identity
) -> None:
    identity.renew()
    signing.now += timedelta(days=DAYS + 1)
    assert not identity.is_good
    signing.now -= timedelta(days=DAYS + 1)
    identity.address = "10.0.0.8"
    assert not identity.is_good
    identity.address = ADDRESS
    signing.change_authority()
    assert not identity.is_good
    assert identity.is_due
    identity.renew()
    assert identity.is_good


@pytest.mark.parametrize("name", ["tls.key", "tls.crt"])
@pytest.mark.parametrize("content", [b"", b"half a fi", None])
def test_a_file_that_was_lost_or_broken_is_made_anew(
    identity: Identity, name: str, content: bytes | None
) -> None:
    identity.renew()
    path = identity.folder / name
    if content is None:
        path.unlink()
    else:
        path.write_bytes(content)
    assert identity.is_due
    identity.renew()
    assert identity.is_good


def test_a_key_that_was_changed_is_no_use_with_the_old_certificate(
    signing: Signing, identity: Identity
) -> None:
    identity.renew()
    certificate = (identity.folder / "tls.crt").read_bytes()
    (identity.folder / "tls.key").unlink()
    identity.renew()
    (identity.folder / "tls.crt").write_bytes(certificate)
    assert not identity.is_good


@pytest.mark.parametrize("answer", ["nonsense", "other key"])
def test_a_wrong_answer_replaces_nothing(signing: Signing, identity: Identity, answer: str) -> None:
    identity.renew()
    before = (identity.folder / "tls.crt").read_bytes()
    signing.answer = answer if answer == "nonsense" else _for_another_key(signing)
    with pytest.raises(CertificateError, match="the controller sent"):
        identity.renew()
    assert (identity.folder / "tls.crt").read_bytes() == before


def _for_another_key(signing: Signing) -> str:
    key = make_key().public_key()
    return signing.authority.issue(key, node="n7", now=signing.now).pem.decode()


def test_no_request_asks_for_a_name(signing: Signing, identity: Identity) -> None:
    asked: list[str] = []
    sign = signing.sign

    def noted(csr: str) -> object:
        asked.append(csr)
        return sign(csr)

    signing.sign = noted  # type: ignore[assignment,method-assign]
    identity.renew()
    request = x509.load_pem_x509_csr(asked[0].encode())
    assert len(request.extensions) == len(request.subject.rdns) == 0


def test_a_folder_that_cannot_be_written_is_named(signing: Signing) -> None:
    (signing.folder / "identity").write_text("a file")
    with pytest.raises(ShoalError, match=r"identity/tls\.key"):
        signing.identity().renew()


def test_a_loop_renews_in_time_and_tries_again_later_where_it_cannot(
    signing: Signing, identity: Identity
) -> None:
    renewing = Renewing(identity)
    renewing.look()
    renewing.look()
    assert signing.signed == 1
    signing.now += timedelta(days=DAYS * 0.7)
    signing.error = ControllerError("away", retry_after_s=60)
    renewing.look()
    signing.error = None
    signing.now += timedelta(seconds=59)
    renewing.look()
    assert signing.signed == 1
    signing.now += timedelta(seconds=2)
    renewing.look()
    assert signing.signed == 2


def test_a_revoked_certificate_is_replaced_under_a_new_key(
    signing: Signing, identity: Identity
) -> None:
    identity.revoked = signing.folder / "revoked.crl"
    identity.renew()
    assert identity.is_good  # there is no such file yet
    key = (identity.folder / "tls.key").read_bytes()
    held = x509.load_pem_x509_certificate((identity.folder / "tls.crt").read_bytes())
    revoked = signing.authority.revocation_list({held.serial_number: signing.now}, now=signing.now)
    identity.revoked.write_bytes(revoked.pem)
    assert identity.is_due
    assert not identity.is_good
    signing.error = ControllerError("away")
    with pytest.raises(ControllerError):
        identity.renew()
    assert (identity.folder / "tls.key").read_bytes() == key
    signing.error = None
    identity.renew()
    assert identity.is_good
    assert (identity.folder / "tls.key").read_bytes() != key
