"""What `containerd check` finds, and what it says to do."""

from pathlib import Path

import pytest

from shoal.adapters.runtime.containerd_check import (
    Finding,
    config_findings,
    front_finding,
    registry_findings,
)
from shoal.adapters.runtime.containerd_config import ContainerdConfig
from shoal.adapters.runtime.containerd_hosts import ContainerdHosts
from shoal.adapters.runtime.front_probe import FrontAnswer
from shoal.adapters.runtime.hosts_toml import AgentEntry
from shoal.adapters.runtime.registry_name import RegistryName

CONFIG = Path("/etc/containerd/config.toml")
CERTS_D = Path("/etc/containerd/certs.d")
URL = "http://127.0.0.1:65001"
QUAY = RegistryName("quay.io")


def one(config: ContainerdConfig) -> Finding:
    (finding,) = config_findings(config, CERTS_D, release=None)
    return finding


def test_a_config_path_that_holds_certs_d_is_well() -> None:
    config = ContainerdConfig(CONFIG, True, 3, (CERTS_D, Path("/other")), set_in=CONFIG)
    assert one(config).ok


@pytest.mark.parametrize("version", [1, 2, 3])
def test_an_unset_config_path_comes_with_the_lines_to_paste_and_the_restart(version: int) -> None:
    finding = one(ContainerdConfig(CONFIG, True, version))
    assert not finding.ok
    assert ContainerdConfig(CONFIG, True, version).snippet(CERTS_D) in finding.todo
    assert "systemctl restart containerd" in finding.todo


def test_a_misplaced_config_path_is_explained() -> None:
    config = ContainerdConfig(CONFIG, True, 3, misplaced=('plugins."x".registry',))
    assert '[plugins."x".registry] is not read in version 3' in one(config).text


def test_another_config_path_can_be_used_or_changed() -> None:
    finding = one(ContainerdConfig(CONFIG, True, 2, (Path("/srv/certs"),), set_in=CONFIG))
    assert not finding.ok
    assert "--certs-d /srv/certs" in finding.todo


def test_mirrors_beside_config_path_are_a_finding_of_their_own() -> None:
    config = ContainerdConfig(
        CONFIG, True, 2, (CERTS_D,), set_in=CONFIG, conflicts=("registry.mirrors",)
    )
    found = config_findings(config, CERTS_D, release=None)
    assert [finding.ok for finding in found] == [False, True]
    assert "registry.mirrors" in found[0].text


def test_each_way_in_which_a_registry_may_be_wrong_is_told_apart(tmp_path: Path) -> None:
    hosts = ContainerdHosts(tmp_path)

    def finding(hosts: ContainerdHosts = hosts, url: str = URL) -> Finding:
        (found,) = registry_findings(hosts, [QUAY], agent_url=url)
        return found

    assert "has no entry" in finding().text
    (made,) = hosts.install([QUAY], AgentEntry(URL))
    assert finding().ok
    other = finding(url="http://127.0.0.1:7001")
    assert "points at http://127.0.0.1:65001" in other.text
    assert "--port 7001" in other.todo
    (tmp_path / "earlier" / "quay.io").mkdir(parents=True)
    shadowed = ContainerdHosts(tmp_path, roots=[tmp_path / "earlier", tmp_path])
    assert "instead of" in finding(shadowed).text
    made.path.write_text('[host."https://x"]\n' + made.path.read_text())
    assert "asks first" in finding().text


def test_no_registry_at_all_is_not_well(tmp_path: Path) -> None:
    (found,) = registry_findings(ContainerdHosts(tmp_path), [], agent_url=URL)
    assert not found.ok


@pytest.mark.parametrize(
    ("answer", "ok", "word"),
    [
        (FrontAnswer.ANSWERS, True, "answers"),
        (FrontAnswer.REFUSES, False, "registry meanwhile"),
        (FrontAnswer.SILENT, False, "for ever"),
        (FrontAnswer.FOREIGN, False, "another program"),
    ],
)
def test_the_front_is_there_or_not(answer: FrontAnswer, ok: bool, word: str) -> None:
    finding = front_finding(answer, URL)
    assert finding.ok is ok
    assert word in finding.text
