"""The commands for people: what is listed, and what wrong use costs."""

import subprocess
import sys

import pytest

from shoal import __version__
from shoal.cli.main import main


def test_the_help_lists_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    out = capsys.readouterr().out
    for name in ("agent", "pull", "containerd", "console", "version"):
        assert f" {name} " in out


def test_no_command_at_all_shows_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    assert "containerd" in capsys.readouterr().out


@pytest.mark.parametrize("words", [["version"], ["--version"], ["-V"]])
def test_the_version_is_told(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 0
    assert capsys.readouterr().out.startswith(f"shoal {__version__} (Python 3.")


@pytest.mark.parametrize("words", [["frobnicate"], ["--frobnicate"], ["version", "--x"]])
def test_wrong_use_ends_with_2_and_says_why_on_stderr(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == 2
    captured = capsys.readouterr()
    assert words[-1] in captured.err
    assert captured.out == ""


def test_a_command_loads_only_what_it_needs() -> None:
    code = (
        "import sys; from shoal.cli.main import main; main(['version']); "
        "sys.exit(any(m.startswith(('aiohttp', 'shoal.adapters')) for m in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], check=False, timeout=60)
    assert done.returncode == 0
