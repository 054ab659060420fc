"""`shoal containerd`: what is written, printed and returned."""

import json
import socket
import stat
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from shoal.cli.main import main

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Run:
    def run_one(command: str, *words: str, port: int | None = None) -> tuple[int, str, str]:
        at = ["--containerd-dir", str(tmp_path)]
        ports = [] if port is None else ["--port", str(port)]
        code = main(["containerd", command, *at, *ports, *words])
        out, err = capsys.readouterr()
        return code, out, err

    return run_one


@pytest.fixture
def front() -> Iterator[int]:
    class Front(BaseHTTPRequestHandler):
        def version_string(self) -> str:
            return "shoal"

        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Front) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


@pytest.fixture
def nobody() -> Iterator[int]:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield bound.getsockname()[1]


def configure(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text(
        'version = 2\n[plugins."io.containerd.grpc.v1.cri".registry]\n'
        f'config_path = "{tmp_path}/certs.d"\n'
    )


def test_install_check_and_remove_in_a_row(run: Run, front: int, tmp_path: Path) -> None:
    configure(tmp_path)
    assert run("check", port=front)[0] == 1
    code, out, err = run("install", "-r", "docker.io", "-r", "quay.io", port=front)
    assert (code, err) == (0, "")
    assert out.count("made") == 2
    assert run("check", port=front)[0] == 0
    assert run("install", "-r", "docker.io", port=front)[1].startswith("docker.io: as it should")
    assert run("remove")[0] == 0
    assert [path.name for path in tmp_path.iterdir()] == ["config.toml"]
    assert run("remove")[1] == "no registry has an entry of Shoal's\n"


def test_an_agent_that_does_not_run_yet_is_a_warning_only(
    run: Run, nobody: int, tmp_path: Path
) -> None:
    configure(tmp_path)
    code, _, err = run("install", "-r", "docker.io", port=nobody)
    assert code == 0
    assert "nothing answers" in err
    assert run("check", port=nobody)[0] == 69


def test_containerd_is_not_sent_to_an_agent_that_is_waited_for_in_vain(
    run: Run, nobody: int, tmp_path: Path
) -> None:
    code, _, err = run("install", "-r", "docker.io", "--wait-s", "0.1", port=nobody)
    assert code == 69
    assert "nothing was written" in err
    assert list(tmp_path.iterdir()) == []


def test_containerd_is_not_sent_to_a_port_that_never_answers(run: Run, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        code, _, err = run("install", "-r", "docker.io", port=silent.getsockname()[1])
    assert code == 69
    assert "nothing was written" in err
    assert list(tmp_path.iterdir()) == []


def test_an_unset_config_path_is_said_at_install_with_what_to_paste(
    run: Run, front: int, tmp_path: Path
) -> None:
    (tmp_path / "config.toml").write_text("version = 3\n")
    code, _, err = run("install", "-r", "docker.io", port=front)
    assert code == 0
    assert f'config_path = "{tmp_path}/certs.d"' in err
    assert (tmp_path / "config.toml").read_text() == "version = 3\n"


def test_json_is_one_object_with_all_that_is_printed_otherwise(
    run: Run, front: int, tmp_path: Path
) -> None:
    configure(tmp_path)
    installed = json.loads(run("install", "-r", "docker.io", "--json", port=front)[1])
    assert installed["registries"][0]["action"] == "created"
    checked = json.loads(run("check", "--json", port=front)[1])
    assert checked["ok"]
    assert checked["config_path"] == [f"{tmp_path}/certs.d"]
    assert [finding["ok"] for finding in checked["findings"]] == [True, True, True]
    removed = json.loads(run("remove", "--json")[1])
    assert removed["registries"][0]["action"] == "removed"


def test_the_first_folder_of_config_path_is_used(run: Run, front: int, tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text(
        'version = 3\n[plugins."io.containerd.cri.v1.images".registry]\n'
        f'config_path = "{tmp_path}/mine:{tmp_path}/yours"\n'
    )
    assert run("install", "-r", "docker.io", port=front)[0] == 0
    assert (tmp_path / "mine" / "docker.io" / "hosts.toml").is_file()


def test_a_header_is_read_from_a_file_and_kept_from_others(
    run: Run, front: int, tmp_path: Path
) -> None:
    (tmp_path / "secret").write_text("hush\n")
    header = f"X-Shoal-Node: @{tmp_path}/secret"
    assert run("install", "-r", "docker.io", "--header", header, port=front)[0] == 0
    path = tmp_path / "certs.d" / "docker.io" / "hosts.toml"
    assert '"X-Shoal-Node" = "hush"' in path.read_text()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["-r", "not/a/registry"],
        ["-r", "docker.io", "--header", "no colon"],
        ["-r", "docker.io", "--header", "X: @/no/such/file"],
        ["-r", "docker.io", "--port", "0"],
    ],
)
def test_bad_usage_is_code_2_and_changes_nothing(
    run: Run, tmp_path: Path, words: list[str]
) -> None:
    assert run("install", *words)[0] == 2
    assert list(tmp_path.iterdir()) == []


def test_a_broken_configuration_is_named_by_install_and_check_and_no_hindrance_to_remove(
    run: Run, front: int, tmp_path: Path
) -> None:
    (tmp_path / "config.toml").write_text("version = \n")
    code, _, err = run("install", "-r", "docker.io", port=front)
    assert code == 78
    assert f"{tmp_path}/config.toml:1" in err
    assert run("check", port=front)[0] == 78
    assert run("remove")[0] == 0


def test_a_broken_hosts_toml_is_named_and_left(run: Run, front: int, tmp_path: Path) -> None:
    path = tmp_path / "certs.d" / "docker.io" / "hosts.toml"
    path.parent.mkdir(parents=True)
    path.write_text('server = "x"\n[host\n')
    code, _, err = run("install", "-r", "docker.io", port=front)
    assert code == 78
    assert f"{path}:2" in err
    assert path.read_text() == 'server = "x"\n[host\n'
