"""Pictures of a run."""

import sys
from pathlib import Path

import pytest

from shoal.sim.plot import PlotUnavailable, draw
from shoal.sim.run import run
from shoal.sim.scenario import Scenario

RESULTS = run(
    Scenario.model_validate(
        {
            "title": "t",
            "registry": {"rate": "1Gbit/s"},
            "nodes": [{"count": 3, "rate": "1Gbit/s"}],
            "image": [{"size": "4MB"}],
        }
    )
)


def test_a_run_is_drawn(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    draw(RESULTS, tmp_path / "out.png")
    assert (tmp_path / "out.png").read_bytes().startswith(b"\x89PNG")


def test_without_matplotlib_it_says_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(PlotUnavailable, match=r"pip install 'shoal\[plot\]'") as caught:
        draw(RESULTS, tmp_path / "out.png")
    assert caught.value.exit_code == 69
