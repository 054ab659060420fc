"""Curves of rollouts: who was done when, what the registry sent when."""

from pathlib import Path

import pytest

from bench.plot import Curves, completion, draw, traffic
from bench.rollout_runs import Run
from shoal.testing.bed.measure import Rollout
from shoal.testing.bed.race import Fetch
from shoal.testing.bed.traffic import Traffic
from shoal.testing.bed.usage import Costs, MachineTime

MB = 1_000_000


def wave(*ends: float, sent: tuple[tuple[float, int], ...] = ((0.0, 0), (1.0, MB))) -> Rollout:
    """Fetches that ended so many seconds after the start; n0 is lost."""
    lost = Fetch("n0", 0.5, "killed", lost=True)
    fetches = (lost, *(Fetch(f"n{n}", end, cpu_s=0.1) for n, end in enumerate(ends, 1)))
    machine = MachineTime(idle_s=3.0, softirq_s=1.0, steal_s=0.0, total_s=10.0)
    return Rollout(
        fetches=fetches,
        traffic=Traffic(MB, 1000, 500, 9),
        copies=0.6,
        site_copies={1: 0.4, 2: 0.2},
        direct_copies=0.1,
        sent=sent,
        lost_share=0.05,
        costs=Costs({"n1": 2.0, "n2": 1.0}, 0.5, 0.25, 0.25, machine),
    )


def test_a_node_is_done_when_its_fetch_ends_and_one_that_is_lost_never_is() -> None:
    times, done = completion(Run((wave(3.0, 2.0),), 1.0))
    assert times == [0.0, 2.0, 3.0]
    assert done == [0, 1, 2]


def test_waves_follow_each_other() -> None:
    run = Run((wave(1.0, 2.0), wave(1.5)), 1.0)
    assert completion(run)[0] == [0.0, 1.0, 2.0, 3.5]
    times, rates = traffic(run)
    assert times == [0.0, 2.0, run.last_s]
    assert rates == pytest.approx([1.0, 1.0, 0.0])


def test_traffic_is_told_as_a_rate_over_steps_that_are_not_too_short() -> None:
    sent = ((0.0, 0), (0.25, MB), (0.5, 2 * MB), (0.75, 2 * MB), (1.0, 2 * MB))
    times, rates = traffic(Run((wave(1.0, sent=sent),), 1.0))
    assert times == [0.0, 0.5, 1.0]
    assert rates == pytest.approx([4.0, 0.0, 0.0])


def test_waves_are_added_up() -> None:
    run = Run((wave(1.0, 2.0), wave(1.5)), 1.0)
    assert run.last_s == 3.5
    assert run.median_s == 1.5
    assert run.copies == pytest.approx(1.2)
    assert run.worst_site_copies == pytest.approx(0.8)
    assert run.direct_copies == pytest.approx(0.2)
    assert run.other_bytes == 3000
    assert run.machine.idle_share == pytest.approx(0.3)
    assert run.agents == {"n1": 4.0, "n2": 2.0}
    assert run.seconds_by() == {
        "agents": 6.0,
        "containerd": 1.5,
        "registry": 0.5,
        "rest": 6.0,
        "softirq": 2.0,
    }
    assert run.details()["lost"] == ["n0", "n0"]


def test_a_picture_is_drawn_of_every_configuration(tmp_path: Path) -> None:
    run = Run((wave(3.0, 2.0),), 1.0)
    curves = [Curves("a", 2.0, shoal=[run, run], direct=[run]), Curves("b", 2.0, shoal=[run])]
    draw(curves, tmp_path / "out.png")
    assert (tmp_path / "out.png").read_bytes().startswith(b"\x89PNG")
