"""Configurations of a rollout: their names, their ideal, and who is in which wave."""

import pytest

from bench.rollout_shape import (
    MIB,
    Bounds,
    Churn,
    Scenario,
    Shape,
    parse_size,
    shapes,
    size_text,
)
from shoal.testing.bed.network import Site

SHAPE = Shape(8, "100mbit", "100mbit", 160 * MIB)
SITES = Shape(12, "200mbit", "200mbit", 200_000_000, sites=3, uplink="50mbit")
MB = 1_000_000


def test_names_say_all_that_tells_configurations_apart() -> None:
    assert SHAPE.name == "8 nodes at 100mbit, registry at 100mbit, 160 MiB, cold"
    assert SITES.name == (
        "12 nodes at 200mbit in 3 sites behind 50mbit, registry at 200mbit, 200 MB, cold"
    )
    late = Shape(1, "1gbit", "100mbit", MIB, stagger_s=30.0, scenario=Scenario.CHURN)
    assert late.name == "1 node at 1gbit, registry at 100mbit, 1 MiB, churn, starts over 30 s"


@pytest.mark.parametrize(
    ("shape", "bounds"),
    [
        (SHAPE, Bounds(1.2, 1.02)),
        (Shape(16, "50mbit", "50mbit", 200 * MB), Bounds(1.15, 1.01)),
        (SITES, Bounds(1.15, 1.01)),
        (Shape(16, "100mbit", "100mbit", 200 * MB), None),
        (Shape(8, "100mbit", "100mbit", 160 * MIB, scenario=Scenario.CHURN), None),
        (Shape(8, "100mbit", "100mbit", 160 * MIB, stagger_s=1.0), None),
    ],
)
def test_only_what_was_asked_for_is_held_to_bounds(shape: Shape, bounds: Bounds | None) -> None:
    assert shape.bounds == bounds


def test_the_ideal_is_the_time_of_the_slowest_link_that_all_must_go_through() -> None:
    # 100 MB at 8 Mbit/s a MB and the whole rate as payload.
    alike = Shape(8, "100mbit", "100mbit", 100 * MB)
    assert alike.ideal_s(100 * MB, share=1.0) == pytest.approx(8.0)
    assert alike.ideal_s(100 * MB, share=0.5) == pytest.approx(16.0)
    slow_registry = Shape(8, "100mbit", "50mbit", 100 * MB)
    assert slow_registry.ideal_s(100 * MB, share=1.0) == pytest.approx(16.0)
    assert SITES.ideal_s(100 * MB, share=1.0) == pytest.approx(16.0)  # an uplink


def test_the_registry_sends_a_copy_to_each_site() -> None:
    shape = Shape(12, "200mbit", "100mbit", 100 * MB, sites=3, uplink="50mbit")
    assert shape.ideal_s(100 * MB, share=1.0) == pytest.approx(24.0)


def test_who_begins_late_ends_late() -> None:
    shape = Shape(3, "100mbit", "50mbit", 100 * MB, stagger_s=30.0)
    assert shape.delays() == {"n1": 0.0, "n2": 15.0, "n3": 30.0}
    assert shape.ideal_s(100 * MB, share=1.0) == pytest.approx(38.0)
    assert Shape(1, "100mbit", "100mbit", MB, stagger_s=30.0).delays() == {"n1": 0.0}


def test_a_rolling_update_takes_a_fifth_at_a_time_and_its_waves_add_up() -> None:
    shape = Shape(8, "100mbit", "50mbit", 100 * MB, scenario=Scenario.ROLLING)
    assert [list(wave) for wave in shape.waves()] == [[0, 1], [2, 3], [4, 5], [6, 7]]
    # The first wave waits for the registry's link, the others only for their own.
    assert shape.ideal_s(100 * MB, share=1.0) == pytest.approx(16.0 + 3 * 8.0)
    assert len(Shape(12, "1mbit", "1mbit", MB, scenario=Scenario.ROLLING).waves()) == 4
    assert SHAPE.waves() == [range(8)]


def test_in_a_rolling_update_a_site_that_comes_late_needs_its_uplink_then() -> None:
    shape = Shape(4, "100mbit", "100mbit", 1, sites=2, uplink="50mbit", scenario=Scenario.ROLLING)
    assert shape.ideal_s(100 * MB, share=1.0) == pytest.approx(16.0 + 8.0 + 16.0 + 8.0)


def test_sites_are_as_even_as_they_can_be() -> None:
    assert SITES.bed_sites() == [Site(4, "200mbit", "50mbit")] * 3
    uneven = Shape(5, "1mbit", "1mbit", MB, sites=2)
    assert [site.nodes for site in uneven.bed_sites()] == [3, 2]
    assert [uneven.site_of(node) for node in range(5)] == [1, 1, 1, 2, 2]
    with pytest.raises(IndexError):
        uneven.site_of(5)


@pytest.mark.parametrize("nodes", [4, 8, 16, 100])
def test_no_node_has_two_mishaps_and_at_least_one_has_none(nodes: int) -> None:
    churn = Churn.of(nodes)
    whom = [*churn.lost, *churn.killed, *churn.restarted]
    assert len(set(whom)) == len(whom) < nodes
    assert min(whom) > 0
    assert max(whom) < nodes
    assert len(churn.lost) == max(1, nodes // 8)


@pytest.mark.parametrize(
    ("text", "size"), [("200MB", 200 * MB), ("160", 160 * MIB), ("160 MiB", 160 * MIB)]
)
def test_sizes_are_read_and_shown(text: str, size: int) -> None:
    assert parse_size(text) == size
    assert parse_size(size_text(size)) == size


@pytest.mark.parametrize("text", ["", "0", "-5MB", "5GB", "1.5MB"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a size"):
        parse_size(text)


def combinations(
    nodes: list[int],
    *,
    registry_rates: list[str] | None = None,
    sites: int = 1,
    stagger_s: float = 0.0,
    scenario: Scenario = Scenario.COLD,
) -> list[tuple[int, str]]:
    found = shapes(
        nodes=nodes,
        rates=["1gbit"],
        registry_rates=registry_rates,
        image_bytes=MB,
        sites=sites,
        uplink=None,
        stagger_s=stagger_s,
        scenario=scenario,
    )
    return [(shape.nodes, shape.registry_rate) for shape in found]


def test_lists_give_every_combination() -> None:
    assert combinations([1, 2], registry_rates=["100mbit", "1gbit"]) == [
        (1, "100mbit"),
        (1, "1gbit"),
        (2, "100mbit"),
        (2, "1gbit"),
    ]
    assert combinations([3]) == [(3, "1gbit")]


def test_what_makes_no_sense_is_refused() -> None:
    with pytest.raises(ValueError, match="2 nodes cannot be 3 sites"):
        combinations([2], sites=3)
    with pytest.raises(ValueError, match="churn needs at least 4 nodes"):
        combinations([3], scenario=Scenario.CHURN)
    with pytest.raises(ValueError, match="no stagger"):
        combinations([5], stagger_s=1.0, scenario=Scenario.ROLLING)
