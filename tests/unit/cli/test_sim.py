"""`shoal sim`: options, output and exit codes."""

import json
from pathlib import Path

import pytest

from shoal.cli.main import main

SMALL = """
title: a small one
about: for tests
registry: {rate: 1Gbit/s}
nodes: [{count: 3, rate: 1Gbit/s}]
image: [{size: 4MB}]
"""


@pytest.fixture
def small(tmp_path: Path) -> str:
    path = tmp_path / "small.yaml"
    path.write_text(SMALL)
    return str(path)


def test_a_scenario_of_ones_own_is_told_as_a_table(
    small: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["sim", small]) == 0
    out = capsys.readouterr().out
    assert out.startswith("a small one")
    assert "1.0000 copies" in out


def test_json_is_one_object(small: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sim", small, "--json", "--seed", "5"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["seed"], document["nodes"], document["copies"]) == (5, 3, 1.0)


def test_what_comes_with_shoal_is_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sim", "--list"]) == 0
    assert "thousand " in capsys.readouterr().out


def test_a_number_of_the_policy_can_be_changed(
    small: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["sim", small, "--json", "--policy", "leases_at_once=1"]) == 0
    one = json.loads(capsys.readouterr().out)
    assert main(["sim", small, "--json"]) == 0
    assert one["completions_s"] != json.loads(capsys.readouterr().out)["completions_s"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--policy", "speed=3"], "speed is no number of the policy"),
        (["--policy", "neighbours"], "is not NAME=NUMBER"),
        (["--policy", "neighbours=many"], "is not NAME=NUMBER"),
        (["--plot", "out.nonsense"], "cannot draw to out.nonsense"),
    ],
)
def test_wrong_use_is_told_in_one_sentence(
    small: str, arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["sim", small, *arguments]) == 2
    assert said in capsys.readouterr().err


def test_a_scenario_must_be_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sim"]) == 2
    assert "--list" in capsys.readouterr().err
    assert main(["sim", "nowhere.yaml"]) == 2


def test_nodes_that_do_not_finish_fail_the_command(small: str, tmp_path: Path) -> None:
    path = tmp_path / "short.yaml"
    path.write_text(SMALL + "until: 10ms\n")
    assert main(["sim", str(path)]) == 1


def test_a_picture_is_drawn(small: str, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    assert main(["sim", small, "--plot", str(tmp_path / "out.png")]) == 0
    assert (tmp_path / "out.png").stat().st_size > 1000
