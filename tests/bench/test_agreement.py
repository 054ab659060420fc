"""The scenario that stands for the bed, and how two figures are compared."""

import pytest

from bench.agreement import Simulated, add, apart_percent, scenario_of, simulated
from bench.ledger import Ledger
from bench.rollout_runs import Run
from bench.rollout_shape import Shape
from shoal.sim.run import run
from shoal.testing.bed.measure import Rollout
from shoal.testing.bed.race import Fetch
from shoal.testing.bed.traffic import Traffic
from shoal.testing.bed.usage import Costs, MachineTime

SHAPE = Shape(3, "50mbit", "25mbit", 6_000_000)
LAYERS = [1_000, 4_000_000, 2_000_000]


def rolled(*, last_s: float, copies: float, idle: float) -> Run:
    machine = MachineTime(idle_s=idle, softirq_s=0.0, steal_s=0.0, total_s=1.0)
    wave = Rollout(
        fetches=(Fetch("n1", last_s),),
        traffic=Traffic(0, 0, 0, 0),
        copies=copies,
        site_copies={1: copies},
        direct_copies=0.0,
        sent=((0.0, 0),),
        lost_share=0.05,
        costs=Costs({"n1": 1.0}, 0.0, 0.0, 0.0, machine),
    )
    return Run((wave,), 0.5)


def test_the_simulator_is_told_what_the_bed_is_built_as() -> None:
    scenario = scenario_of(SHAPE, LAYERS, seed=3)
    assert scenario.layers == LAYERS
    assert scenario.nodes[0].count == 3
    assert scenario.nodes[0].rate * 8 == 50_000_000
    assert scenario.registry.rate * 8 == 25_000_000
    assert scenario.seed == 3
    assert scenario.policy == {}


def test_what_is_lost_in_front_of_receivers_has_used_the_senders_links() -> None:
    scenario = scenario_of(SHAPE, LAYERS, seed=1, lost_share=0.1)
    assert scenario.nodes[0].rate * 8 == 50_000_000
    assert scenario.nodes[0].up is not None
    assert scenario.nodes[0].up * 8 == 45_000_000
    assert scenario.registry.rate * 8 == 22_500_000


def test_what_a_pull_takes_beside_its_bytes_is_added_to_what_the_simulator_says() -> None:
    small = [rolled(last_s=last_s, copies=1.0, idle=0.5) for last_s in (0.5, 0.9, 0.7)]
    whole = simulated(SHAPE, LAYERS, small=small, measured=[small[0]])
    assert whole.lost_share == 0.05
    assert 0.6 < whole.around_s < 0.7  # the simulator takes some round trips for it too
    assert whole.last_s > whole.bare_last_s + whole.around_s
    assert whole.copies == pytest.approx(1.0, abs=0.01)


def test_figures_are_compared_in_per_cent_of_the_simulators() -> None:
    assert apart_percent(11.0, 10.0) == pytest.approx(10.0)
    assert apart_percent(9.0, 10.0) == pytest.approx(10.0)


def test_what_agrees_is_told_from_what_does_not_and_from_what_was_no_comparison() -> None:
    results = [run(scenario_of(SHAPE, LAYERS, seed=1))]
    assert results[0].whole.finished == 3
    last_s, copies = results[0].whole.last_s + 0.5, results[0].copies
    said = Simulated(bare=results, lossy=results, lost_share=0.0, around_s=0.5)
    ledger = Ledger("agreement")
    busy = rolled(last_s=last_s * 1.09, copies=copies * 1.03, idle=0.1)
    add(ledger, SHAPE, [busy], said)
    judged = {figure.name: figure.ok for figure in ledger.figures if figure.bound is not None}
    assert judged == {
        "3_nodes_time_apart": True,
        "3_nodes_copies_apart": False,
        "3_nodes_cpu_idle": False,
    }
