"""`shoal sim`: a rollout in virtual time, by the core that runs on the nodes."""

import json
from pathlib import Path
from typing import Annotated

import typer

from shoal.core.errors import BadInput
from shoal.sim.plot import draw
from shoal.sim.report import table
from shoal.sim.results import Results
from shoal.sim.run import run
from shoal.sim.scenario import Scenario, load, shipped


def sim_command(
    scenario: Annotated[
        str | None,
        typer.Argument(
            metavar="SCENARIO",
            help="A scenario that comes with Shoal (--list), or a YAML file.",
            show_default=False,
        ),
    ] = None,
    list_: Annotated[bool, typer.Option("--list", help="List what comes with Shoal.")] = False,
    json_output: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    plot: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.png",
            help="Draw nodes that are done, and the registry's traffic, over time. Takes "
            "matplotlib.",
            show_default=False,
        ),
    ] = None,
    seed: Annotated[
        int | None, typer.Option(help="Another seed than the scenario's.", show_default=False)
    ] = None,
    policy: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=NUMBER",
            help="Change one number that the swarm decides by; may be repeated.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Simulate a rollout: thousands of nodes, in seconds, on this machine.

    Drives the same decisions as the agent, with modelled links, registry and clients.
    The same scenario and seed give the same result, always. docs/sim.md says what a
    scenario may hold.

    Exit codes:
    0 done;
    1 a live node did not finish;
    2 no such scenario, or it is wrong;
    69 --plot without matplotlib.
    """
    if list_:
        for name, path in shipped().items():
            print(f"{name.ljust(28)} {load(str(path)).title}")
        return
    if scenario is None:
        raise BadInput("name a scenario, or list them with --list")
    chosen = _changed(load(scenario), seed=seed, policy=policy or [])
    results = run(chosen)
    if json_output:
        print(json.dumps(results.as_json()))
    else:
        print(table(results))
    if plot is not None:
        _draw_to(plot, results)
    if results.alive_unfinished:
        raise typer.Exit(1)


def _draw_to(path: Path, results: Results) -> None:
    try:
        draw(results, path)
    except (OSError, ValueError) as error:
        raise BadInput(f"cannot draw to {path}: {error}") from error


def _changed(scenario: Scenario, *, seed: int | None, policy: list[str]) -> Scenario:
    document = scenario.model_dump()
    if seed is not None:
        document["seed"] = seed
    for text in policy:
        name, equals, number = text.partition("=")
        try:
            document["policy"][name] = float(number)
        except ValueError as error:
            raise BadInput(f"--policy {text!r} is not NAME=NUMBER") from error
        if not equals:
            raise BadInput(f"--policy {text!r} is not NAME=NUMBER")
    try:
        return Scenario.model_validate(document)
    except ValueError as error:
        raise BadInput(f"--policy: {error}") from error
