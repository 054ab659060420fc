"""This node's certificate in the agent: found, watched, and told of in time."""

import asyncio
import logging
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from shoal.adapters.certificates.credentials import CredentialFiles
from shoal.adapters.certificates.peer_credentials import PeerCredentials
from shoal.agent.peer_certificates import CertificateWatch, load_credentials
from shoal.agent.settings import PeerSettings
from shoal.core.errors import SettingsError
from shoal.core.peer import PeerId
from shoal.testing.cluster import Cluster
from unit.agent.driving import until

NOW = datetime.now(UTC)
ME = PeerId("10.0.0.1:65002")


@pytest.fixture
def cluster(tmp_path: Path) -> Cluster:
    return Cluster(tmp_path)


def _settings(files: CredentialFiles, *, plaintext: bool = False) -> PeerSettings:
    tls = {"certificate": files.certificate, "key": files.key, "ca": files.ca}
    return PeerSettings.model_validate({"plaintext": plaintext, "tls": tls})


def _loaded(files: CredentialFiles) -> PeerCredentials:
    credentials = load_credentials(_settings(files), me=ME)
    assert credentials is not None
    return credentials


class Watched:
    """A watch whose time is set, and what it counted."""

    def __init__(self, files: CredentialFiles, *, now: datetime = NOW) -> None:
        self.now = now
        self.counted: list[str] = []
        self.credentials = _loaded(files)
        self.watch = CertificateWatch(
            self.credentials,
            me=ME,
            count=self.counted.append,
            interval_s=0.01,
            now=lambda: self.now,
        )


def _events(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage().partition(":")[0] for record in caplog.records]


def test_a_node_shows_what_its_settings_name(cluster: Cluster) -> None:
    assert _loaded(cluster.issue("n1", ["10.0.0.1"])).identity.node == "n1"


def test_where_peers_speak_plain_tcp_no_file_is_read() -> None:
    nowhere = CredentialFiles(Path("/nowhere/a"), Path("/nowhere/b"), Path("/nowhere/c"))
    assert load_credentials(_settings(nowhere, plaintext=True), me=ME) is None
    assert load_credentials(PeerSettings(), me=ME) is None


@pytest.mark.parametrize("name", ["certificate", "key", "ca"])
def test_a_file_that_cannot_be_used_is_named_with_its_key(cluster: Cluster, name: str) -> None:
    files = cluster.issue("n1", ["10.0.0.1"])
    path: Path = getattr(files, name)
    path.write_bytes(b"")
    with pytest.raises(SettingsError) as caught:
        load_credentials(_settings(files), me=ME)
    assert str(caught.value).startswith(f"peer.tls.{name}: {path}: ")


def test_a_certificate_for_another_address_is_refused(cluster: Cluster) -> None:
    files = cluster.issue("n1", ["10.0.0.9"])
    with pytest.raises(SettingsError, match=r"peer\.tls\.certificate: .* not for 10\.0\.0\.1"):
        load_credentials(_settings(files), me=ME)


async def test_new_files_are_put_into_force_while_the_agent_runs(
    cluster: Cluster, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    it = Watched(cluster.issue("n1", ["10.0.0.1"]))
    before = it.credentials.identity.serial
    task = asyncio.ensure_future(it.watch.run())
    try:
        cluster.issue("n1", ["10.0.0.1"])
        await until(lambda: it.credentials.identity.serial != before)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert it.counted == ["ok"]
    assert _events(caplog) == ["peer_certificate_renewed"]


async def test_files_that_cannot_be_used_change_nothing_and_are_told_of_once(
    cluster: Cluster, caplog: pytest.LogCaptureFixture
) -> None:
    it = Watched(cluster.issue("n1", ["10.0.0.1"]))
    before = it.credentials.current
    cluster.issue("n1", ["10.0.0.9"])  # another node's
    for _ in range(5):
        await it.watch.look()
    assert it.credentials.current is before
    assert it.counted == ["failed"]
    assert _events(caplog) == ["peer_certificate_not_renewed"]
    assert "not for 10.0.0.1" in caplog.records[0].__dict__["error"]
    cluster.issue("n1", ["10.0.0.1"])
    for _ in range(2):
        await it.watch.look()
    assert it.counted == ["failed", "ok"]


def test_an_end_within_two_weeks_is_warned_of_once_a_day(
    cluster: Cluster, caplog: pytest.LogCaptureFixture
) -> None:
    it = Watched(cluster.issue("n1", ["10.0.0.1"], days=30))
    for days in (0, 15, 17, 17.5, 18.1):
        it.now = NOW + timedelta(days=days)
        it.watch.warn()
    assert _events(caplog) == ["peer_certificate_ends_soon"] * 2
    assert all(record.__dict__["certificate"] == "n1" for record in caplog.records)


def test_an_end_that_has_come_is_told_as_what_it_means(
    cluster: Cluster, caplog: pytest.LogCaptureFixture
) -> None:
    it = Watched(cluster.issue("n1", ["10.0.0.1"], now=NOW - timedelta(days=400)))
    it.watch.warn()
    (record,) = caplog.records
    assert record.levelname == "ERROR"
    assert "expired" in record.__dict__["reason"]


def test_an_authority_that_ends_soon_is_warned_of_too(
    cluster: Cluster, caplog: pytest.LogCaptureFixture
) -> None:
    it = Watched(cluster.issue("n1", ["10.0.0.1"], days=9000))
    it.now = NOW + timedelta(days=3140)
    it.watch.warn()
    assert _events(caplog) == ["peer_certificate_ends_soon"]
