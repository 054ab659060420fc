"""`shoal pull`: options, output and exit codes."""

import asyncio
import base64
import json
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path

import pytest

from shoal.cli.main import main
from shoal.testing.registry import EmbeddedRegistry
from shoal.testing.registry_auth import Account, AuthMode, RegistryAuth
from shoal.testing.registry_faults import WrongBytes

REF = "r.example.com/team/app:1"
CONFIG = b'{"os": "linux", "architecture": "amd64"}'
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def agent() -> Iterator[EmbeddedRegistry]:
    """A registry in a loop and thread of its own: the command brings its own loop."""
    started: Future[EmbeddedRegistry] = Future()
    loop = asyncio.new_event_loop()
    stop = asyncio.Event()

    async def serve() -> None:
        async with EmbeddedRegistry() as registry:
            registry.content.add_image("team/app", "1", [b"layer"], config=CONFIG)
            started.set_result(registry)
            await stop.wait()

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    yield started.result(timeout=60)
    loop.call_soon_threadsafe(stop.set)
    thread.join()
    loop.close()


@pytest.fixture
def run(
    agent: EmbeddedRegistry,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> Run:
    monkeypatch.setattr("shoal.cli.pulling.place._PAUSES_S", (0.0,))
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker"))

    def run_one(*words: str) -> tuple[int, str, str]:
        code = main(["pull", "--agent", agent.url, "--platform", "linux/amd64", *words])
        out, err = capfd.readouterr()
        return code, out, err

    return run_one


def test_the_digest_is_printed_and_a_line_for_each_blob(
    run: Run, agent: EmbeddedRegistry, tmp_path: Path
) -> None:
    code, out, err = run(REF, "-o", str(tmp_path / "out"))
    assert code == 0
    assert out.strip() == str(agent.content.repository("team/app").tags["1"])
    assert len(err.splitlines()) == 2
    assert (tmp_path / "out" / "oci-layout").is_file()


def test_quiet_prints_nothing(run: Run, tmp_path: Path) -> None:
    assert run(REF, "-q", "-o", str(tmp_path / "out")) == (0, "", "")


def test_json_prints_one_object(run: Run, agent: EmbeddedRegistry, tmp_path: Path) -> None:
    code, out, err = run(REF, "--json", "-o", str(tmp_path / "out"))
    assert (code, err) == (0, "")
    report = json.loads(out)
    assert report["reference"] == REF
    assert report["from"] == f"agent {agent.url}"
    assert report["format"] == "oci"
    assert [blob["result"] for blob in report["blobs"]] == ["pulled", "pulled"]
    assert sum(blob["bytes"] for blob in report["blobs"]) == len(CONFIG) + 5


def test_progress_is_drawn_where_it_is_asked_for(run: Run, tmp_path: Path) -> None:
    code, _, err = run(REF, "--progress", "-o", str(tmp_path / "out"))
    assert code == 0
    assert "━" in err


@pytest.mark.parametrize(
    ("name", "words", "is_folder"),
    [
        ("app.tar", [], False),
        ("app.tar", ["--format", "oci"], True),
        ("app", ["--format", "docker-archive"], False),
        ("app", [], True),
    ],
)
def test_the_name_decides_the_format_unless_it_is_said(
    run: Run, tmp_path: Path, name: str, words: list[str], is_folder: bool
) -> None:
    assert run(REF, "-o", str(tmp_path / name), *words)[0] == 0
    assert (tmp_path / name).is_dir() is is_folder


@pytest.mark.parametrize("named", [False, True])
def test_credentials_are_taken_from_dockers_file_or_a_named_one(
    run: Run, agent: EmbeddedRegistry, tmp_path: Path, named: bool
) -> None:
    agent.auth = RegistryAuth(AuthMode.BEARER, {"user": Account("right")})
    path = tmp_path / ("creds.json" if named else "docker/config.json")
    path.parent.mkdir(exist_ok=True)
    auth = base64.b64encode(b"user:right").decode()
    path.write_text(json.dumps({"auths": {"r.example.com": {"auth": auth}}}))
    words = ["--creds-file", str(path)] if named else []
    # The registry behind the agent is this same one; its realm is at the agent's address.
    assert run(REF, "-o", str(tmp_path / "out"), *words)[0] == 0


def test_wrong_credentials_are_exit_code_77(
    run: Run, agent: EmbeddedRegistry, tmp_path: Path
) -> None:
    agent.auth = RegistryAuth(AuthMode.BASIC, {"user": Account("right")})
    code, out, err = run(REF, "-o", str(tmp_path / "out"))
    assert (code, out) == (77, "")
    assert "docker login r.example.com" in err


def test_dockers_file_that_cannot_be_used_is_a_warning_and_a_named_one_an_error(
    run: Run, agent: EmbeddedRegistry, tmp_path: Path
) -> None:
    agent.auth = RegistryAuth(AuthMode.BEARER, {}, public=["team/app"])
    (tmp_path / "docker").mkdir()
    path = tmp_path / "docker" / "config.json"
    path.write_text('{"auths": {"r.example.com": {}}, "credsStore": "desktop"}')
    code, _, err = run(REF, "-o", str(tmp_path / "out"))
    assert code == 0
    assert "docker-credential-desktop" in err
    assert run(REF, "-o", str(tmp_path / "out"), "--creds-file", str(path))[0] == 78


def test_wrong_bytes_are_exit_code_65(run: Run, agent: EmbeddedRegistry, tmp_path: Path) -> None:
    agent.fail(WrongBytes(0), route="blobs")
    assert run(REF, "-o", str(tmp_path / "out"))[0] == 65


def test_an_unknown_image_or_platform_is_exit_code_66(run: Run, tmp_path: Path) -> None:
    assert run("r.example.com/team/app:2", "-o", str(tmp_path / "out"))[0] == 66
    assert run(REF, "-o", str(tmp_path / "out"), "--platform", "linux/s390x")[0] == 66


def test_no_agent_is_exit_code_69(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shoal.cli.pulling.job.AGENT_PATIENCE_S", 0.1)
    code, _, err = run(REF, "-o", str(tmp_path / "out"), "--agent", "http://127.0.0.1:9")
    assert code == 69
    assert "--fallback" in err


@pytest.mark.parametrize(
    "words",
    [
        [],
        [REF],
        ["Not A Ref", "-o", "x"],
        [REF, "-o", "{tmp}/full"],
        [REF, "-o", "{tmp}/out", "--platform", "linux"],
        [REF, "-o", "{tmp}/out", "--agent", "127.0.0.1:65001"],
        [REF, "-o", "{tmp}/out", "--format", "zip"],
    ],
)
def test_bad_usage_is_exit_code_2(run: Run, tmp_path: Path, words: list[str]) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "precious").write_text("")
    assert run(*(word.format(tmp=tmp_path) for word in words))[0] == 2


def test_an_output_that_cannot_be_written_is_exit_code_1(run: Run, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    code, _, err = run(REF, "-o", str(tmp_path / "file" / "below"))
    assert code == 1
    assert str(tmp_path / "file") in err
