"""`shoal certs`: a cluster's certificates from the first to the replacement of their authority."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from shoal.adapters.certificates.credentials import CredentialFiles, Credentials
from shoal.adapters.certificates.files import write
from shoal.adapters.certificates.keys import make_key
from shoal.adapters.certificates.requests import make_request
from shoal.cli.main import main

# What a command prints, on standard output and on standard error, and its exit code.
Certs = Callable[..., tuple[int, str, str]]


@pytest.fixture
def certs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Certs:
    """Run `shoal certs` in a folder of its own."""
    monkeypatch.chdir(tmp_path)

    def run(*words: str) -> tuple[int, str, str]:
        code = main(["certs", *words])
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return run


@pytest.fixture
def cluster(certs: Certs) -> Certs:
    assert certs("init", "--cluster", "edge-1")[0] == 0
    return certs


def _credentials(folder: str) -> Credentials:
    path = Path(folder)
    return Credentials.read(
        CredentialFiles(path / "tls.crt", path / "tls.key", path / "ca.crt", path / "revoked.crl")
    )


def _issue(certs: Certs, node: str, *more: str) -> tuple[int, str, str]:
    return certs("issue", "--node", node, "--address", "10.0.0.1", *more)


def test_a_cluster_is_made_in_two_commands(certs: Certs) -> None:
    code, out, _ = certs("init", "--cluster", "edge-1")
    assert code == 0
    assert "next: `shoal certs issue" in out
    code, out, _ = _issue(certs, "n1")
    assert code == 0
    assert "peer.tls" in out
    assert _credentials("n1").identity.addresses == {"10.0.0.1"}


def test_a_second_authority_is_refused(cluster: Certs) -> None:
    code, _, err = cluster("init", "--cluster", "edge-1")
    assert code == 1
    assert "shoal certs rotate" in err


def test_a_key_that_is_there_is_replaced_only_when_asked(cluster: Certs) -> None:
    _issue(cluster, "n1")
    before = _credentials("n1").identity.serial
    code, _, err = _issue(cluster, "n1")
    assert code == 1
    assert "--replace" in err
    assert _credentials("n1").identity.serial == before
    assert _issue(cluster, "n1", "--replace", "--days", "7")[0] == 0
    assert _credentials("n1").identity.serial != before


def test_an_operator_gets_a_certificate_with_the_role(cluster: Certs) -> None:
    assert cluster("issue", "--role", "operator", "--name", "alice")[0] == 0
    _, out, _ = cluster("show", "alice")
    assert out.startswith("alice (operator): good")


def test_a_nodes_request_is_signed_for_the_names_that_are_given(
    cluster: Certs, tmp_path: Path
) -> None:
    write(tmp_path / "n1.csr", make_request(make_key(), cluster="edge-1", node="n1"))
    assert _issue(cluster, "n1", "--csr", "n1.csr")[0] == 0
    assert not Path("n1/tls.key").exists()
    code, _, err = _issue(cluster, "n2", "--csr", "n1.csr")
    assert code == 1
    assert "shoal://edge-1/node/n1" in err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["issue"], "whose certificate?"),
        (["issue", "--node", "n1"], "--address: at which address"),
        (["issue", "--role", "operator"], "--name"),
        (["issue", "--role", "king", "--name", "a"], "expected operator"),
        (["issue", "--role", "operator", "--name", "a", "--address", "10.0.0.1"], "neither"),
        (["issue", "--node", "a/b", "--address", "10.0.0.1"], "expected a name"),
        (["issue", "--node", "n1", "--address", "10.0.0.300"], "IP address"),
        (["init", "--cluster", "No Name", "--ca", "other"], "a cluster's name"),
        (["revoke"], "which?"),
    ],
)
def test_wrong_use_is_told_in_a_sentence(cluster: Certs, words: list[str], said: str) -> None:
    code, _, err = cluster(*words)
    assert code == 2
    assert said in err


def test_a_request_gets_no_role(cluster: Certs) -> None:
    code, _, err = _issue(cluster, "n1", "--csr", "n1.csr", "--role", "operator")
    assert code == 2
    assert "gets no role" in err


def test_without_an_authority_nothing_is_done_and_how_to_make_one_is_said(certs: Certs) -> None:
    code, _, err = _issue(certs, "n1")
    assert code == 1
    assert "shoal certs init" in err


def test_revoking_names_what_it_revoked(cluster: Certs) -> None:
    _issue(cluster, "n1")
    _issue(cluster, "n2")
    code, out, _ = cluster("revoke", "n1", "--certificate", "n2/tls.crt")
    assert code == 0
    assert "revoked n1" in out
    assert "revoked n2" in out
    assert "copy shoal-ca/revoked.crl to every node" in out
    assert cluster("show")[1].count(": revoked, until") == 2
    code, _, err = cluster("revoke", "n9")
    assert code == 1
    assert "n9: no certificate" in err


def test_an_authority_is_replaced_in_the_order_that_is_printed(cluster: Certs) -> None:
    _issue(cluster, "n1")
    code, out, _ = cluster("rotate")
    assert code == 0
    assert re.findall(r"^  (\d)\.", out, re.MULTILINE) == ["1", "2", "3"]
    code, _, err = cluster("rotate", "--finish")
    assert code == 1
    assert "certificates of the old authority only" in err
    assert err.rstrip().endswith("--force")
    code, _, err = _issue(cluster, "n1", "--replace")
    assert "a replacement is under way" in err
    code, out, _ = cluster("rotate", "--finish")
    assert code == 0
    assert "dropped edge-1 authority" in out
    assert len(_credentials("n1").trust.authorities) == 2  # as it was handed out


def test_a_replacement_can_be_finished_by_force(cluster: Certs) -> None:
    _issue(cluster, "n1")
    cluster("rotate")
    assert cluster("rotate", "--finish", "--force")[0] == 0
    assert cluster("rotate", "--finish")[0] == 1
