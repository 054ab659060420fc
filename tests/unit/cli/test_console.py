"""`shoal console`: served until told to stop, backed up and restored in one command each."""

import re
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from shoal.cli.main import main
from shoal.control.store.database import Database
from shoal.control.store.migrate import migrate


def _options(folder: Path) -> list[str]:
    return ["--database", f"sqlite:///{folder}/console.db"]


def test_it_prints_where_it_is_and_the_first_administrators_page_and_ends_on_a_signal(
    tmp_path: Path,
) -> None:
    command = [sys.executable, "-m", "shoal", "console", "serve", "--listen", "127.0.0.1:0"]
    command += [*_options(tmp_path), "--key-file", f"{tmp_path}/console.key"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            lines = [process.stdout.readline() for _ in range(4)]
            found = re.search(
                r"(http://127\.0\.0\.1:\d+/console/setup\?code=[0-9a-f]{16})", lines[3]
            )
            assert found, lines
            with urllib.request.urlopen(found[1], timeout=30) as answer:
                assert b"Who administers this console?" in answer.read()
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(30)
    assert process.returncode == 0
    assert "0001_start" in lines[0]


def test_a_metadata_service_is_served_beside_it_and_only_if_asked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = [sys.executable, "-m", "shoal", "console", "serve", "--listen", "127.0.0.1:0"]
    command += [*_options(tmp_path), "--key-file", f"{tmp_path}/console.key"]
    command += ["--metadata", "127.0.0.1:0", "--metadata-cluster", "c1", "--metadata-role", "w"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            lines = iter(process.stdout.readline, "")
            where = next(line for line in lines if line.startswith("metadata: ")).split()[1]
            ask = urllib.request.Request(f"http://{where}/latest/api/token", method="PUT")
            ask.add_header("X-aliyun-ecs-metadata-token-ttl-seconds", "60")
            with urllib.request.urlopen(ask, timeout=30) as answer:
                assert len(answer.read()) > 20
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(30)
    assert process.returncode == 0
    assert main(["console", "serve", "--metadata", "127.0.0.1:1", *_options(tmp_path)]) == 78
    assert "--metadata-role" in capsys.readouterr().err


def test_backup_and_restore_are_one_command_each(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "backup"
    (tmp_path / "other").mkdir()
    assert main(["console", "restore", str(file), *_options(tmp_path)]) == 2
    assert "cannot read" in capsys.readouterr().err
    empty = tmp_path / "empty"
    empty.mkdir()
    assert main(["console", "backup", str(file), *_options(empty)]) == 2
    assert "holds no console" in capsys.readouterr().err
    database = Database(f"sqlite:///{tmp_path}/console.db")
    migrate(database)
    database.close()
    assert main(["console", "backup", str(file), *_options(tmp_path)]) == 0
    assert main(["console", "restore", str(file), *_options(tmp_path / "other")]) == 0
    assert "0 rows restored" in capsys.readouterr().out


def test_wrong_settings_are_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["console", "backup", "x", "--database", "mysql://x/y"]) == 78
    assert main(["console", "serve", "--listen", "nowhere", *_options(tmp_path)]) == 2
    errors = capsys.readouterr().err
    assert "not mysql" in errors
    assert "expected host:port" in errors


def test_without_its_extra_it_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "jinja2", None)
    assert main(["console", "backup", "x"]) == 78
    assert "pip install 'shoal[console]'" in capsys.readouterr().err
