"""What `shoal certs show` says of certificates, to people and to programs."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from shoal.adapters.certificates.authority_folder import AuthorityFolder
from shoal.cli.certs_show import show_authority, show_files

NOW = datetime.now(UTC)


@pytest.fixture
def folder(tmp_path: Path) -> AuthorityFolder:
    return AuthorityFolder.make(tmp_path / "ca", "edge-1", now=NOW - timedelta(days=500))


def _issue(folder: AuthorityFolder, node: str, *, days: float = 365, age_days: float = 0) -> Path:
    now = NOW - timedelta(days=age_days)
    issued = folder.issue(node=node, addresses=["10.0.0.1"], days=days, now=now)
    target = folder.path.parent / f"{node}-{age_days}"
    folder.hand_out(target, issued)
    return target


def test_names_ends_and_fingerprints_are_shown(
    folder: AuthorityFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    _issue(folder, "n1")
    assert show_authority(folder, warn_days=14, json_output=False)
    out = capsys.readouterr().out
    assert "n1 (node): good, until" in out
    assert folder.current()["n1"].fingerprint in out
    assert f"signed by   {folder.signer.certificate.name}" in out


@pytest.mark.parametrize(
    ("days", "age_days", "state"), [(7, 0, "ends soon"), (365, 400, "expired")]
)
def test_what_ends_soon_or_has_ended_is_warned_of_with_what_to_do(
    folder: AuthorityFolder,
    capsys: pytest.CaptureFixture[str],
    days: float,
    age_days: float,
    state: str,
) -> None:
    target = _issue(folder, "n1", days=days, age_days=age_days)
    for well in (
        show_authority(folder, warn_days=14, json_output=False),
        show_files([target], warn_days=14, json_output=False),
        show_files([target / "tls.crt"], warn_days=14, json_output=False),
    ):
        assert not well
    err = capsys.readouterr().err
    assert err.count(f"n1: {state}, ") == 3
    assert "shoal certs issue" in err


def test_an_authority_that_ends_soon_is_warned_of(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    short = AuthorityFolder.make(tmp_path / "short", "edge-1", days=7)
    assert not show_authority(short, warn_days=14, json_output=False)
    assert "shoal certs rotate" in capsys.readouterr().err


def test_a_certificate_that_a_later_one_replaced_needs_nothing(
    folder: AuthorityFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    _issue(folder, "n1", days=10, age_days=9)
    _issue(folder, "n1")
    assert show_authority(folder, warn_days=14, json_output=True)
    printed = json.loads(capsys.readouterr().out)
    assert printed["ok"]
    assert [line["state"] for line in printed["certificates"]] == ["good", "replaced", "good"]


def test_a_node_whose_authority_is_not_trusted_any_more_is_told(
    folder: AuthorityFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    target = _issue(folder, "n1")
    folder.rotate()
    folder.finish()
    (target / "ca.crt").write_bytes((folder.path / "ca.crt").read_bytes())
    (target / "revoked.crl").unlink()
    assert not show_files([target], warn_days=14, json_output=False)
    assert "n1: other cluster" in capsys.readouterr().err
