"""Runs a scenario from its beginning to its end."""

from shoal.sim.build import WARM_UP_S, build
from shoal.sim.results import Results, summarise
from shoal.sim.scenario import Scenario


def run(scenario: Scenario) -> Results:
    """Return what comes of `scenario`; the same for the same scenario, always."""
    world = build(scenario)
    world.clock.run(until_s=WARM_UP_S + scenario.until)
    return summarise(scenario, world, began_s=WARM_UP_S)
