"""What a node that cannot reach something is told."""

from shoal.core.cloud.reach import cannot_reach_nodes, cannot_reach_registry


def test_a_registry_out_of_reach_leads_to_the_way_to_its_vpc() -> None:
    told = cannot_reach_registry("r.example.com", node="edge-1", why="timed out")
    assert told.sentence.startswith("Step 3, edge node pools: node edge-1 cannot reach r.example")
    assert "Express Connect" in told.sentence


def test_many_nodes_out_of_reach_are_counted_and_three_are_named() -> None:
    names = [f"10.0.0.{number}:65002" for number in range(1, 6)]
    told = cannot_reach_nodes(names, node="edge-1", of=9, why="no route")
    assert "5 of 9 nodes (10.0.0.1:65002, 10.0.0.2:65002, 10.0.0.3:65002, …: no route)" in (
        told.sentence
    )
    assert "inter-node connection" in told.sentence
