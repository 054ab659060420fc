"""What ./dev says and decides, without installing anything."""

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent


def dev(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run ./dev."""
    return subprocess.run(
        [ROOT / "dev", *arguments], capture_output=True, text=True, timeout=120, check=False
    )


def function(script: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a script that has the functions of ./dev."""
    return subprocess.run(
        ["bash", "-c", f"source {ROOT / 'dev'}\n{script}"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={**os.environ, **environment},
    )


def executable(path: Path, text: str) -> None:
    """Write a program."""
    path.write_text(text, encoding="utf-8")
    path.chmod(0o755)


@pytest.mark.parametrize("arguments", [(), ("help",), ("--help",)])
def test_the_help_is_one_screen(arguments: tuple[str, ...]) -> None:
    done = dev(*arguments)
    assert done.returncode == 0
    assert len(done.stdout.splitlines()) <= 27
    assert max(len(line) for line in done.stdout.splitlines()) <= 100


def test_every_command_is_in_the_help() -> None:
    commands = function("declare -F | sed -n 's/^declare -f cmd_//p'").stdout.split()
    assert len(commands) >= 10
    described = dev("help").stdout
    assert all(f"  {command}" in described for command in commands if command != "help")


def test_an_unknown_command_fails_and_points_to_the_help() -> None:
    done = dev("frobnicate")
    assert done.returncode == 1
    assert "there is no command frobnicate; ./dev help lists them" in done.stderr


def test_an_unknown_check_fails_before_any_runs() -> None:
    done = dev("check", "sizes", "frobnicate")
    assert done.returncode == 1
    assert "there is no check frobnicate" in done.stderr
    assert done.stdout == ""


def test_a_python_that_is_only_a_shim_is_passed_over(tmp_path: Path) -> None:
    executable(tmp_path / "python3.13", "#!/bin/sh\necho not installed >&2\nexit 127\n")
    executable(tmp_path / "python3.12", "#!/bin/sh\nexit 0\n")
    done = function("find_python", PATH=f"{tmp_path}:{os.environ['PATH']}", PYTHON="")
    assert done.stdout == "python3.12\n"
    assert done.stderr == ""


def test_the_python_that_a_user_names_comes_first(tmp_path: Path) -> None:
    executable(tmp_path / "mine", "#!/bin/sh\nexit 0\n")
    done = function("find_python", PYTHON=str(tmp_path / "mine"))
    assert done.stdout == f"{tmp_path / 'mine'}\n"


def test_without_root_it_says_which_packages_are_missing_and_what_is_skipped() -> None:
    done = function(
        "is_root() { false; }; have() { [[ $1 != nginx && $1 != tc ]]; }; setup_packages"
    )
    assert done.returncode == 0
    named = [line.split()[0] for line in done.stderr.splitlines() if line.startswith("  ")]
    assert named == ["nginx-light", "iproute2"]
    assert "skipped for it: the tests in tests/bed" in done.stderr


def test_as_root_the_missing_packages_are_installed_and_no_others() -> None:
    done = function(
        "gone=nginx; is_root() { true; }; have() { [[ $1 != $gone ]]; }\n"
        "keep_services_off() { :; }\n"
        'apt_install() { echo "installing $*"; gone=; }\n'
        "setup_packages"
    )
    assert (done.returncode, done.stdout) == (0, "installing nginx-light\n")


@pytest.mark.parametrize("failing", ["tests/unit", "tests", "tests/bed", ""])
def test_all_tests_run_although_some_fail_and_then_it_fails(tmp_path: Path, failing: str) -> None:
    venv = tmp_path / "venv"
    (venv / "bin").mkdir(parents=True)
    python = venv / "bin" / "python"
    executable(
        python, f'#!/bin/sh\nfor last; do :; done\necho "ran $last"\n[ $last != "{failing}" ]\n'
    )
    script = (ROOT / "dev").read_text().replace("readonly VENV=.venv", f"readonly VENV={venv}")
    copy = tmp_path / "dev"
    executable(copy, script)
    done = subprocess.run(
        ["bash", "-c", f"source {copy}\ntest_all"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert sorted(done.stdout.splitlines()) == ["ran tests", "ran tests/bed", "ran tests/unit"]
    assert done.stdout.endswith("ran tests/bed\n")
    assert done.returncode == (1 if failing else 0)


def test_root_without_a_package_manager_is_told_what_to_install() -> None:
    done = function(
        "is_root() { true; }; have() { [[ $1 != apt-get && $1 != tc ]]; }; setup_packages"
    )
    assert done.returncode == 1
    assert "there is no apt-get to install them:\niproute2 " in done.stderr
