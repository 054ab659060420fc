"""The demo's command line."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from shoal.testing.demo import command
from shoal.testing.demo.command import main
from shoal.testing.demo.failures import DemoFailed
from shoal.testing.demo.run import Options


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    """Put back the handlers of signals that a demo replaces."""
    numbers = (signal.SIGTERM, signal.SIGHUP)
    before = [signal.getsignal(number) for number in numbers]
    yield
    for number, handler in zip(numbers, before, strict=True):
        signal.signal(number, handler)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Let nothing be built or run; what was asked for is here."""
    seen: dict[str, Any] = {}

    def built(cache: Path, *, size_bytes: int) -> str:
        seen.update(cache=cache, size_bytes=size_bytes)
        return "the image"

    def ran(image: object, options: Options) -> int:
        seen.update(image=image, options=options)
        return 0

    monkeypatch.setattr(command, "cached_image", built)
    monkeypatch.setattr(command, "run", ran)
    return seen


def test_by_default_four_nodes_share_a_thin_link(asked: dict[str, Any]) -> None:
    assert main([]) == 0
    assert asked["size_bytes"] == 160 * 1024 * 1024
    assert asked["options"] == Options(nodes=4, rate_bytes_per_s=12_500_000, json=False, keep=False)


@pytest.mark.parametrize(
    ("text", "size_bytes"), [("160MB", 160_000_000), ("200MiB", 200 * 1024 * 1024)]
)
def test_sizes_have_units(asked: dict[str, Any], text: str, size_bytes: int) -> None:
    assert main(["--image-size", text, "--nodes", "7", "--json", "--keep"]) == 0
    assert asked["size_bytes"] == size_bytes
    assert asked["options"].nodes == 7
    assert asked["options"].json
    assert asked["options"].keep


@pytest.mark.parametrize(("text", "rate"), [("none", None), ("1Gbit/s", 125_000_000)])
def test_the_registry_s_link_can_be_chosen(
    asked: dict[str, Any], text: str, rate: int | None
) -> None:
    assert main(["--registry-rate", text]) == 0
    assert asked["options"].rate_bytes_per_s == rate


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--nodes", "0"], "expected 1 to 64"),
        (["--nodes", "65"], "expected 1 to 64"),
        (["--nodes", "many"], "expected 1 to 64"),
        (["--image-size", "large"], "expected a size in bytes"),
        (["--image-size", "0"], "expected up to 20.00 GB"),
        (["--image-size", "1TB"], "expected up to 20.00 GB"),
        (["--registry-rate", "fast"], "expected a rate"),
        (["--registry-rate", "0"], "`none` for no limit"),
        (["--frobnicate"], "unrecognized arguments"),
    ],
)
def test_wrong_use_is_told(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert said in capsys.readouterr().err


def test_a_failure_is_one_sentence(
    asked: dict[str, Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails(_image: object, _options: Options) -> int:
        raise DemoFailed("the agent of node 2 ended with 78")

    monkeypatch.setattr(command, "run", fails)
    assert main([]) == 1
    assert "demo: the agent of node 2 ended with 78\n" in capsys.readouterr().err


@pytest.fixture
def hears_hangups() -> Iterator[None]:
    """Let SIGHUP be heard, also where the tests run under nohup."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.mark.usefixtures("hears_hangups")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_the_build_can_be_interrupted(
    monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    def interrupted(_cache: Path, *, size_bytes: int) -> None:
        os.kill(os.getpid(), number)
        raise AssertionError("not reached")

    monkeypatch.setattr(command, "cached_image", interrupted)
    assert main([]) == 130
