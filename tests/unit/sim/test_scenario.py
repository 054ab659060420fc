"""Scenarios: what they may hold, and what is said of those that are wrong."""

import re
from pathlib import Path

import pytest
from pydantic import BaseModel

from shoal.core.errors import BadInput
from shoal.core.swarm.policy import DEFAULT
from shoal.sim.scenario import (
    Deaths,
    Layer,
    Nodes,
    Older,
    Registry,
    Scenario,
    Site,
    View,
    load,
    read,
    shipped,
)

PAGE = Path(__file__).parents[3] / "docs" / "sim.md"
SMALL = """
title: small
registry: {rate: 1Gbit/s}
nodes: [{count: 2, rate: 100Mbit/s}]
image: [{size: 1MiB, count: 2}, {size: 5KB}]
"""


def test_rates_sizes_and_times_are_written_as_in_the_settings() -> None:
    scenario = read(SMALL, source="x.yaml")
    assert scenario.registry.rate == 125_000_000
    assert scenario.nodes[0].rate == 12_500_000
    assert scenario.layers == [1048576, 1048576, 5000]
    assert scenario.image_bytes == 2 * 1048576 + 5000


@pytest.mark.parametrize("name", sorted(shipped()))
def test_every_scenario_that_is_shipped_is_right_and_says_why_it_is_there(name: str) -> None:
    assert load(name).about


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("speed: 3", "speed: Extra inputs are not permitted"),
        ("registry: {rate: 512M}", "registry.rate: .*expected a rate"),
        ("registry: {}", "registry.rate: Field required"),
        ("image: []", "image: List should have at least 1 item"),
        ("nodes: [{count: 0, rate: 1Mbit/s}]", "nodes.0.count: Input should be greater"),
        ("nodes: [{count: 1, rate: 1Mbit/s, site: mars}]", "is in site mars"),
        ("nodes: [{count: 1, rate: 1Mbit/s, idle: true}]", "nothing to measure"),
        (
            "nodes: [{count: 1, rate: 1Mbit/s}, {count: 1, rate: 1Mbit/s}]",
            "two groups of nodes have the same name",
        ),
        ("sites: [{name: a}, {name: a}]", "two sites have the same name"),
        ("sites: [{name: site, apart_from: mars}]", "site is apart from mars"),
        ("sites: [{name: site, back_after: 3s}]", "comes back and is never cut off"),
        (
            "nodes: [{count: 1, rate: 1Mbit/s, older: {layers: [3]}}]",
            "has layer 3 of an older tag, and the image has 3",
        ),
        ("policy: {speed: 3}", "speed is no number of the policy"),
    ],
)
def test_an_error_names_the_key_and_what_is_wrong(change: str, said: str) -> None:
    key = change.partition(":")[0]
    lines = [line for line in SMALL.splitlines() if not line.startswith(f"{key}:")]
    with pytest.raises(BadInput, match=said):
        read("\n".join([*lines, change]), source="x.yaml")


@pytest.mark.parametrize("text", ["[1", "- a list", "just words", ""])
def test_what_is_no_yaml_or_no_mapping_is_refused(text: str) -> None:
    with pytest.raises(BadInput, match=r"x\.yaml is no"):
        read(text, source="x.yaml")


def test_a_name_that_is_neither_shipped_nor_a_file_is_refused_with_what_there_is() -> None:
    with pytest.raises(BadInput, match="thousand"):
        load("no-such-thing")


def test_the_policy_is_the_agents_but_for_what_is_changed() -> None:
    scenario = read(SMALL, source="x.yaml")
    assert scenario.make_policy() == DEFAULT
    changed = read(SMALL + "policy: {neighbours: 8, stall_s: 2}", source="x.yaml").make_policy()
    assert (changed.neighbours, type(changed.neighbours), changed.stall_s) == (8, int, 2.0)


@pytest.mark.parametrize("model", [Scenario, Registry, Site, Nodes, Older, Deaths, View, Layer])
def test_the_page_of_documentation_has_every_key_with_its_meaning(model: type[BaseModel]) -> None:
    page = PAGE.read_text(encoding="utf-8")
    for name, field in model.model_fields.items():
        assert field.description, f"{model.__name__}.{name} has no docstring"
        row = rf"\| `{name}` \| [^|]* \| {re.escape(field.description)} \|"
        assert re.search(row, page), f"docs/sim.md lacks {model.__name__}.{name}"


def test_the_page_describes_no_key_that_is_gone() -> None:
    known = {
        name
        for model in (Scenario, Registry, Site, Nodes, Older, Deaths, View, Layer)
        for name in model.model_fields
    }
    described = set(re.findall(r"^\| `([a-z0-9_]+)` \|", PAGE.read_text("utf-8"), re.MULTILINE))
    assert described == known


def test_the_example_of_the_page_is_a_scenario() -> None:
    (example,) = re.findall(r"```yaml\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    assert read(example, source="docs/sim.md").nodes[0].count == 19
