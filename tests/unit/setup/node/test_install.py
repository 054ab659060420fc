"""Reporting and the loop: news at once, the rest from time to time, failures with longer pauses."""

from pathlib import Path
from threading import Event

import pytest

from shoal.setup.node.backoff import Backoff
from shoal.setup.node.controller import Condition, Controller, ControllerError
from shoal.setup.node.install import REPORT_INTERVAL_S, Reporting, keep_installed
from shoal.setup.node.installer import Installer

FINE = Condition("True", "Installed", "all is well")
DOWN = Condition("False", "AgentDown", "it is not")


class Told(Controller):
    """A controller that notes what it is told."""

    def __init__(self) -> None:
        super().__init__(namespace="ns", authority=Path("ca.crt"))
        self.heard: list[Condition] = []
        self.asked = 0
        self.error: ControllerError | None = None

    def report(self, condition: Condition) -> str:
        """Note it."""
        self.asked += 1
        if self.error is not None:
            raise self.error
        self.heard.append(condition)
        return "containerd://1.7.1"


class Reported:
    """Reporting, on a clock that is set by hand."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.controller = Told()
        self.versions: list[str] = []
        self.reporting = Reporting(
            self.controller,
            self.versions.append,
            now=lambda: self.now_s,
            backoff=Backoff(lambda: 1.0),
        )


@pytest.fixture
def it() -> Reported:
    return Reported()


def test_what_has_changed_is_told_at_once_and_what_has_not_after_long(it: Reported) -> None:
    for condition in (FINE, FINE, DOWN, DOWN):
        it.reporting.tell(condition)
    assert it.controller.heard == [FINE, DOWN]
    it.now_s += REPORT_INTERVAL_S
    it.reporting.tell(DOWN)
    assert it.controller.heard == [FINE, DOWN, DOWN]
    assert set(it.versions) == {"containerd://1.7.1"}


def test_a_controller_that_is_away_is_asked_less_and_less_often(it: Reported) -> None:
    it.controller.error = ControllerError("away")
    for _ in range(3600):
        it.reporting.tell(DOWN)
        it.now_s += 1
    assert 10 <= it.controller.asked <= 20
    it.controller.error = None
    it.now_s += 300
    it.reporting.tell(FINE)
    assert it.controller.heard == [FINE]


def test_a_controller_says_when_it_wants_to_be_asked_again(it: Reported) -> None:
    it.controller.error = ControllerError("busy", retry_after_s=60)
    it.reporting.tell(DOWN)
    it.controller.error = None
    it.now_s = 59
    it.reporting.tell(FINE)
    assert it.controller.heard == []
    it.now_s = 60
    it.reporting.tell(FINE)
    assert it.controller.heard == [FINE]


class Looking(Installer):
    """An installer that counts its looks, and changes its settings after the first."""

    def __init__(self, settings: Path, stop: Event) -> None:
        self.looks = 0
        self.is_settled = True
        self._settings = settings
        self._stop = stop

    def look(self) -> Condition:
        """Count it."""
        self.looks += 1
        self._settings.write_text(f"changed: {self.looks}")
        if self.looks == 3:
            self._stop.set()
        return FINE


def test_a_change_of_the_settings_is_followed_by_a_look(it: Reported, tmp_path: Path) -> None:
    stop = Event()
    settings = tmp_path / "agent.yaml"
    settings.write_text("")
    installer = Looking(settings, stop)
    also: list[int] = []
    keep_installed(
        installer,
        it.reporting,
        settings=settings,
        stop=stop,
        also=lambda: also.append(1),
        tick_s=0.001,
    )
    assert installer.looks == len(also) == 3
    assert [condition.reason for condition in it.controller.heard] == ["Starting", "Installed"]
