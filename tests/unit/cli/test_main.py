"""The command `shoal`: where it goes, and how it ends."""

import sys
from collections.abc import Sequence

import pytest

from shoal.cli import agent, commands
from shoal.cli.main import main
from shoal.core.errors import OriginDenied, SettingsError


def _fails_with(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    def run(_words: Sequence[str]) -> int:
        raise error

    monkeypatch.setattr(commands, "run", run)


def test_an_error_of_ours_is_one_sentence_and_its_exit_code(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("SHOAL_DEBUG", raising=False)
    _fails_with(monkeypatch, OriginDenied("docker.io refuses this credential"))
    assert main(["pull", "alpine"]) == 77
    captured = capsys.readouterr()
    assert captured.err == "shoal: docker.io refuses this credential\n"
    assert captured.out == ""


def test_with_debugging_on_an_error_of_ours_has_its_traceback(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SHOAL_DEBUG", "1")
    _fails_with(monkeypatch, SettingsError("x"))
    with pytest.raises(SettingsError):
        main(["pull", "alpine"])


def test_a_bug_is_not_dressed_up_as_an_error_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    _fails_with(monkeypatch, ZeroDivisionError())
    with pytest.raises(ZeroDivisionError):
        main(["pull", "alpine"])


def test_an_interrupt_is_no_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    _fails_with(monkeypatch, KeyboardInterrupt())
    assert main(["pull", "alpine"]) == 130


def test_the_agent_gets_all_words_after_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    got: list[str] = []

    def run(words: Sequence[str]) -> int:
        got.extend(words)
        return 5

    monkeypatch.setattr(agent, "agent_command", run)
    monkeypatch.setattr(sys, "argv", ["shoal", "agent", "--front.port", "1", "--help"])
    assert main() == 5
    assert got == ["--front.port", "1", "--help"]
