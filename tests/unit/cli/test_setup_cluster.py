"""The commands of the Job and the controller, as processes that a chart's pods would run."""

import os
import subprocess
import sys

import pytest

from shoal.cli.setup_cluster import check_agent_settings
from shoal.core.errors import SettingsError

TIMEOUT_S = 60


def run(command: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "shoal", "setup", command],
        env={"PATH": os.environ["PATH"], **variables},
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )


@pytest.mark.parametrize("command", ["job", "controller"])
def test_outside_the_chart_s_pods_they_say_so(command: str) -> None:
    done = run(command)
    assert done.returncode == 78
    assert done.stderr == (
        "shoal: SHOAL_SETUP_NAMESPACE is not set: this command is for the chart's pods\n"
    )


def test_settings_of_an_agent_are_held_to_what_it_takes() -> None:
    check_agent_settings("registries: [{name: a}]")
    with pytest.raises(SettingsError, match=r"^front\.prot: there is no such setting"):
        check_agent_settings("front: {prot: 1}")


def test_the_webhook_too_is_for_pods_alone() -> None:
    done = run("webhook")
    assert done.returncode == 78
    assert "this command is for the chart's pods" in done.stderr
