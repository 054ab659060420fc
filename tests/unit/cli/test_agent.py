"""`shoal agent` as a process: help, wrong settings, a taken port, a life from start to stop."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from shoal.cli.agent import agent_command


def _environment(**more: str) -> Mapping[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("SHOAL_")}
    return {**kept, **more}


def _command(*words: str) -> list[str]:
    return [sys.executable, "-m", "shoal", "agent", *words]


def _run(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        _command(*words),
        env=_environment(**environment),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_help_is_printed_without_a_supervisor(capsys: pytest.CaptureFixture[str]) -> None:
    assert agent_command(["--help"]) == 0
    assert "--front.port" in capsys.readouterr().out


@pytest.mark.timeout(120)
def test_wrong_settings_end_it_at_once_with_one_message_and_code_78() -> None:
    done = _run("--front.port", "high", SHOAL_LOG__LEVEL="loud")
    assert done.returncode == 78
    assert done.stdout == ""
    assert done.stderr == (
        "shoal: 2 settings are wrong:\n"
        "  front.port: expected a whole number, got 'high' (flag --front.port)\n"
        "  log.level: expected 'debug', 'info', 'warning' or 'error', got 'loud' "
        "(environment variable SHOAL_LOG__LEVEL)\n"
    )


@pytest.fixture
def place(tmp_path: Path) -> list[str]:
    """Flags for an agent on ports of its own."""
    return [
        f"--store.path={tmp_path / 'store'}",
        "--store.reserve_bytes=0",
        "--front.hosts=127.0.0.1",
        "--front.port=0",
        "--peer.hosts=127.0.0.1",
        "--peer.port=0",
        "--exporter.hosts=127.0.0.1",
        "--exporter.port=0",
        "--registries={name: registry.invalid}",
    ]


@pytest.mark.timeout(120)
def test_a_port_in_use_names_the_process_and_the_setting(place: list[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = _run(*place, f"--front.port={port}")
    assert done.returncode == 78
    assert f"cannot listen on 127.0.0.1:{port}: the port is in use by " in done.stderr
    assert f"(process {os.getpid()}); stop it, or set front.port to a free port" in done.stderr
    assert "Traceback" not in done.stderr


class Running:
    """An agent under its supervisor."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self.process = process
        self._log = log

    def wait_for(self, event: str, *, count: int = 1, timeout_s: float = 90.0) -> dict[str, object]:
        """Return the `count`th record of `event` in the log."""
        until_s = time.monotonic() + timeout_s
        while time.monotonic() < until_s:
            lines = self._log.read_text(encoding="utf-8").splitlines()
            records = [json.loads(line) for line in lines if line.endswith("}")]
            found = [record for record in records if record["event"] == event]
            if len(found) >= count:
                return dict(found[count - 1])
            time.sleep(0.02)
        raise AssertionError(f"no {event} in:\n{self._log.read_text(encoding='utf-8')}")

    def child(self) -> int:
        """The agent's process, which is the supervisor's only child."""
        pid = self.process.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii")
        return int(children.split()[0])


@pytest.fixture
def running(place: list[str], tmp_path: Path) -> Iterator[Running]:
    log = tmp_path / "log"
    with log.open("wb") as stderr:
        process = subprocess.Popen(_command(*place), env=_environment(), stderr=stderr)
    try:
        yield Running(process, log)
    finally:
        process.kill()  # the agent follows: it asked the kernel to
        process.wait(60)


def _status(port: object, path: str) -> int:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=30) as response:
            return int(response.status)
    except urllib.error.HTTPError as error:
        error.close()
        return error.code


@pytest.mark.timeout(240)
def test_an_agent_starts_answers_survives_a_freeze_and_stops(running: Running) -> None:
    port = running.wait_for("exporter_listening")["port"]
    running.wait_for("agent_ready")
    assert _status(port, "/livez") == 200
    assert _status(port, "/metrics") == 200

    descriptors = Path(f"/proc/{running.process.pid}/fd").iterdir()
    assert not [d for d in descriptors if "socket:" in str(d.readlink())]  # the supervisor has none

    frozen = running.child()
    os.kill(frozen, signal.SIGSTOP)
    running.wait_for("agent_ready", count=2)
    assert running.wait_for("agent_killed")["pid"] == frozen
    assert running.child() != frozen

    running.process.send_signal(signal.SIGTERM)
    assert running.process.wait(60) == 0
    running.wait_for("agent_stopped")
