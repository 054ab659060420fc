"""CrioNode: mirrors for what a mirror's path can name, and what else it tells."""

import tomllib
from pathlib import Path

from shoal.adapters.runtime.host_service import HostService
from shoal.adapters.runtime.registry_name import RegistryName
from shoal.core.errors import ShoalError
from shoal.setup.node.crio import CrioNode
from shoal.setup.node.told import ServedName

URL = "http://127.0.0.1:65001"
HUB = ServedName(RegistryName("docker.io"), path="docker.io")
DEFAULT = ServedName(RegistryName("r:5000"), plain_http=True, path="")
NAMELESS = ServedName(RegistryName("s:5000"))
REWRITTEN = ServedName(RegistryName("a.distributed.b:65001"), server="https://a.b", path="a.b")


def test_each_registry_has_the_agent_first_and_itself_after(tmp_path: Path) -> None:
    node = CrioNode(tmp_path)
    findings = node.apply([HUB, DEFAULT, NAMELESS, REWRITTEN], front_url=URL, release=None)
    tables = tomllib.loads((tmp_path / "registries.conf.d" / "zz-shoal.conf").read_text())
    mirrors = {
        it["prefix"]: (it["mirror"][0]["location"], it["location"]) for it in tables["registry"]
    }
    assert mirrors == {
        "docker.io": ("127.0.0.1:65001/docker.io", "docker.io"),
        "r:5000": ("127.0.0.1:65001", "r:5000"),
        "a.distributed.b:65001": ("127.0.0.1:65001/a.b", "a.b"),
    }
    assert [it.subject for it in findings if not it.ok] == ["s:5000"]
    assert "systemctl reload crio" in findings[-1].text
    node.remove()
    assert [*tmp_path.iterdir()] == []


def test_what_cannot_be_written_is_a_finding(tmp_path: Path) -> None:
    (tmp_path / "registries.conf").write_text("[[[")
    (finding,) = CrioNode(tmp_path).apply([HUB], front_url=URL, release=None)
    assert not finding.ok
    assert "registries.conf:1" in finding.text


class Service(HostService):
    """A CRI-O that notes when it was told to read its files again."""

    def __init__(self) -> None:
        super().__init__("crio")
        self.reloads = 0
        self.error: ShoalError | None = None

    def reload(self) -> None:
        """Note it."""
        if self.error is not None:
            raise self.error
        self.reloads += 1


def test_where_it_may_cri_o_is_told_to_read_what_has_changed(tmp_path: Path) -> None:
    service = Service()
    node = CrioNode(tmp_path, service=service)
    for names, reloads in (([HUB], 1), ([HUB], 1), ([HUB, DEFAULT], 2)):
        found = node.apply(names, front_url=URL, release=None)
        assert found[-1].text == "CRI-O was told to read it"
        assert service.reloads == reloads


def test_a_cri_o_that_cannot_be_told_is_told_again(tmp_path: Path) -> None:
    service = Service()
    service.error = ShoalError("no such unit")
    node = CrioNode(tmp_path, service=service)
    assert not node.apply([HUB], front_url=URL, release=None)[-1].ok
    service.error = None
    assert node.apply([HUB], front_url=URL, release=None)[-1].ok
    assert service.reloads == 1
