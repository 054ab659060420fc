"""Installer: writes when the agent answers, withdraws where somebody else does, says which."""

from collections.abc import Sequence

import pytest

from shoal.adapters.runtime.containerd_check import Finding
from shoal.adapters.runtime.front_probe import FrontAnswer
from shoal.adapters.runtime.registry_name import RegistryName
from shoal.core.errors import SettingsError
from shoal.setup.node.installer import SILENT_LOOKS, Installer
from shoal.setup.node.told import AgentTold, ServedName

AGENT_USER = 65532
TOLD = AgentTold(
    65001,
    (ServedName(RegistryName("docker.io")),),
    (("p2p.port", 65001), ("p2p.v2.p2pPort", 65002)),
)


class Runtime:
    """What a runtime was asked to do."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.releases: list[tuple[int, int] | None] = []
        self.findings = [Finding("docker.io", True, "asks the agent first")]

    def apply(
        self, names: Sequence[ServedName], *, front_url: str, release: tuple[int, int] | None
    ) -> list[Finding]:
        """Note it."""
        self.calls.append(f"{','.join(str(it.name) for it in names)} {front_url}")
        self.releases.append(release)
        return self.findings

    def remove(self) -> list[Finding]:
        """Note it."""
        """Note it."""
        self.calls.append("remove")
        return []


class World:
    """A node: what answers at its port, who listens."""

    def __init__(self) -> None:
        self.runtime = Runtime()
        self.answer = FrontAnswer.ANSWERS
        self.users: dict[int, set[int]] = {}
        self.told: AgentTold | SettingsError = TOLD
        self.installer = Installer(
            self.runtime,
            read=self._read,
            probe=lambda _url: self.answer,
            listening=lambda port: frozenset(self.users.get(port, ())),
            agent_user=AGENT_USER,
        )

    def _read(self) -> AgentTold:
        if isinstance(self.told, SettingsError):
            raise self.told
        return self.told

    def looks(self, times: int = 1) -> tuple[str, str, str]:
        """Look some times, and return what the last look said."""
        for _ in range(times - 1):
            self.installer.look()
        condition = self.installer.look()
        return condition.status, condition.reason, condition.message


@pytest.fixture
def world() -> World:
    return World()


def test_nothing_is_written_before_the_agent_answers(world: World) -> None:
    world.answer = FrontAnswer.REFUSES
    assert world.looks()[:2] == ("False", "AgentDown")
    assert world.runtime.calls == []
    assert not world.installer.is_settled
    world.answer = FrontAnswer.ANSWERS
    assert world.looks() == ("True", "Installed", "docker.io: asks the agent first")
    assert world.runtime.calls == ["docker.io http://127.0.0.1:65001"]
    assert world.installer.is_settled


def test_an_agent_that_is_down_for_a_while_changes_no_file(world: World) -> None:
    world.looks()
    world.answer = FrontAnswer.REFUSES
    world.looks(100)
    assert len(world.runtime.calls) == 1


def test_an_agent_that_stays_silent_is_withdrawn_from_the_runtime(world: World) -> None:
    world.looks()
    world.answer = FrontAnswer.SILENT
    assert world.looks(SILENT_LOOKS - 1)[1] == "AgentDown"
    assert "remove" not in world.runtime.calls
    assert world.looks()[1] == "AgentSilent"
    assert world.runtime.calls[-1] == "remove"
    world.answer = FrontAnswer.ANSWERS
    assert world.looks()[0] == "True"


def test_another_program_at_the_port_gets_nothing_and_the_remedy_is_told(world: World) -> None:
    world.answer = FrontAnswer.FOREIGN
    status, reason, message = world.looks()
    assert (status, reason) == ("False", "PortInUse")
    assert "p2p.port" in message
    assert "sport = :65001" in message
    assert world.runtime.calls == ["remove"]


@pytest.mark.parametrize("answer", [FrontAnswer.REFUSES, FrontAnswer.SILENT])
def test_a_port_that_another_user_has_is_told_by_the_value_that_moves_it(
    world: World, answer: FrontAnswer
) -> None:
    world.answer = answer
    world.users = {65001: {AGENT_USER}, 65002: {0}}
    _, reason, message = world.looks(SILENT_LOOKS)
    assert reason == "PortInUse"
    assert "p2p.v2.p2pPort" in message


def test_what_is_wrong_with_the_runtime_is_told_with_what_to_do(world: World) -> None:
    world.runtime.findings.append(Finding("config_path", False, "unset", "set\n  it"))
    assert world.looks() == ("False", "RuntimeNotReady", "config_path: unset. To do: set it")


def test_settings_that_cannot_be_read_change_nothing(world: World) -> None:
    world.told = SettingsError("no file")
    assert world.looks() == ("False", "NoSettings", "no file")
    assert world.runtime.calls == []


@pytest.mark.parametrize(
    ("version", "release"),
    [
        ("containerd://1.6.20~ds1", (1, 6)),
        ("containerd://2.2.0-k3s1", (2, 2)),
        ("cri-o://1.31.2", (1, 31)),
        ("containerd://v1.7.28", (1, 7)),
        ("", None),
        ("containerd://unknown", None),
    ],
)
def test_the_nodes_own_word_on_its_runtime_is_used(
    world: World, version: str, release: tuple[int, int] | None
) -> None:
    world.looks()
    world.installer.know_runtime(version)
    assert world.installer.is_settled == (release is None)
    world.looks()
    assert world.runtime.releases == [None, release]
    world.installer.know_runtime(version)
    assert world.installer.is_settled
