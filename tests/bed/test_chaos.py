"""A minute of chaos, another one for every commit; ./dev chaos runs longer ones.

Without wrong bytes that are vouched for, which may still cost a pull more than the one attempt that
they are allowed (docs/testing.md, "What chaos has found and is not mended"): with them, this would
fail for one commit in a few.
"""

import subprocess
from pathlib import Path

import pytest

from shoal.testing.chaos.run import run_chaos

ROOT = Path(__file__).parents[2]
SECONDS = 60
NODES = 4


def seed_of_this_commit() -> int:
    """Return the first 32 bits of the commit's hash; 1 where there is no repository."""
    command = ["git", "-C", str(ROOT), "rev-parse", "HEAD"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return int(done.stdout[:8], 16) if done.returncode == 0 else 1


# Longer than others, for it waits until the last pull has ended, whose bounds are its own.
@pytest.mark.timeout(420)
def test_no_pull_fails_and_no_byte_is_wrong_while_everything_breaks() -> None:
    report = run_chaos(seed=seed_of_this_commit(), seconds=SECONDS, nodes=NODES, lies=False)
    assert not report.problems, "\n".join(report.lines())
