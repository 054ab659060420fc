"""Which nodes make a site."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shoal.setup.cluster.pools import (
    EVERY_NODE,
    Kind,
    NodeSeen,
    Pool,
    Sites,
    decide,
    node_seen,
    pool_seen,
)

MODE, CONNECTED = (
    "alibabacloud.com/interconnection-mode",
    "alibabacloud.com/pool-nodes-connected",
)


@pytest.mark.parametrize(
    ("annotations", "spec", "kind"),
    [
        ({}, {"type": "Cloud"}, Kind.CLOUD),
        ({MODE: "private", CONNECTED: "true"}, {"type": "Edge"}, Kind.CONNECTED),
        ({MODE: "private", CONNECTED: "false"}, {"type": "Edge"}, Kind.SEPARATE),
        ({MODE: "private"}, {"type": "Edge"}, Kind.SEPARATE),
        ({MODE: "basic", CONNECTED: "true"}, {"type": "Edge"}, Kind.BASIC),
        ({}, {"type": "Edge", "interConnectivity": True}, Kind.CONNECTED),
        ({}, {"type": "Edge", "interConnectivity": False}, Kind.SEPARATE),
        ({}, {}, Kind.SEPARATE),
    ],
)
def test_a_pool_is_what_ack_or_openyurt_say(
    annotations: dict[str, str], spec: dict[str, Any], kind: Kind
) -> None:
    for place in ("annotations", "labels"):
        thing = {"metadata": {"name": "np1", place: annotations}, "spec": spec}
        assert pool_seen(thing) == Pool("np1", kind)


def test_a_node_s_labels_name_its_pool_and_whether_it_is_at_the_edge() -> None:
    def seen(**labels: str) -> NodeSeen:
        keys = {key.replace("_", "/"): value for key, value in labels.items()}
        return node_seen({"metadata": {"name": "a", "labels": keys}})

    assert seen() == NodeSeen("a", "", None)
    assert node_seen({"metadata": {"name": "a", "labels": None}}) == NodeSeen("a")
    ack = {"alibabacloud.com/nodepool-id": "np1", "alibabacloud.com/is-edge-worker": "false"}
    assert node_seen({"metadata": {"name": "a", "labels": ack}}) == NodeSeen("a", "np1", False)
    yurt = {"apps.openyurt.io/nodepool": "np2", "openyurt.io/is-edge-worker": "true"}
    assert node_seen({"metadata": {"name": "a", "labels": yurt}}) == NodeSeen("a", "np2", True)


def edge(name: str, pool: str = "") -> NodeSeen:
    return NodeSeen(name, pool, is_edge=True)


def test_a_cluster_without_pools_is_one_site_that_takes_whoever_comes() -> None:
    assert decide([NodeSeen("a")], [], all_nodes=True) == Sites({EVERY_NODE: "default"})


def test_the_pool_is_the_site_and_nodes_that_cannot_reach_each_other_are_alone() -> None:
    pools = [Pool("near", Kind.CONNECTED), Pool("far", Kind.SEPARATE)]
    nodes = [edge("a", "near"), edge("b", "far"), edge("c"), NodeSeen("d", "cloud", False)]
    sites = decide(nodes, pools)
    assert sites.by_node == {"a": "near"}
    assert [remark.partition(":")[0] for remark in sites.remarks] == [
        "1 node at the edge are in no node pool",
        "node pool far (1 node) is a dedicated edge pool without inter-node connection",
    ]
    assert decide(nodes, pools, all_nodes=True).by_node == {"a": "near", "d": "cloud"}


def test_a_node_without_pool_or_edge_is_of_the_default_site_where_there_are_pools() -> None:
    nodes = [edge("a", "near"), NodeSeen("control-plane")]
    sites = decide(nodes, [Pool("near", Kind.CONNECTED)], all_nodes=True)
    assert sites.by_node == {"a": "near", "control-plane": "default"}


def test_a_pool_without_an_object_is_believed_to_be_nothing() -> None:
    sites = decide([edge("a", "np1")], [])
    assert sites.by_node == {}
    assert "of which nothing is known" in sites.remarks[0]


def test_no_edge_node_at_all_is_said() -> None:
    assert "edgeNodePool.allNodes" in decide([NodeSeen("a")], []).remarks[0]


@pytest.mark.parametrize("kind", [Kind.CLOUD, Kind.CONNECTED])
def test_a_named_pool_that_can_is_the_site_of_every_node(kind: Kind) -> None:
    assert decide([], [Pool("np1", kind)], only="np1") == Sites({EVERY_NODE: "np1"})


def test_a_named_pool_without_connection_runs_its_nodes_alone_and_says_so() -> None:
    for nodes, pools in (
        ([], [Pool("np1", Kind.SEPARATE)]),
        ([edge("a", "np1")], []),
    ):
        sites = decide(nodes, pools, only="np1")
        assert (sites.by_node, sites.refusal) == ({}, "")
        assert "each of its nodes is a site of its own" in sites.remarks[0]


def test_a_named_pool_that_is_not_there_or_not_dedicated_is_refused() -> None:
    there = [Pool("np2", Kind.CLOUD)]
    assert (
        "no node pool with the ID 'np1' (pools here: np2)" in decide([], there, only="np1").refusal
    )
    assert "use a cloud pool" in decide([], [Pool("np1", Kind.BASIC)], only="np1").refusal


POOLS = st.lists(st.builds(Pool, st.sampled_from("xyz"), st.sampled_from(Kind)), max_size=3)
NODES = st.lists(
    st.builds(
        NodeSeen,
        st.text("abc", min_size=1, max_size=3),
        st.sampled_from(["", "x", "y", "z"]),
        st.sampled_from([None, True, False]),
    ),
    unique_by=lambda node: node.name,
)


@settings(deadline=None)
@given(NODES, POOLS, st.booleans())
def test_two_nodes_share_a_site_only_if_their_pool_says_that_they_reach_each_other(
    nodes: list[NodeSeen], pools: list[Pool], all_nodes: bool
) -> None:
    sites = decide(nodes, pools, all_nodes=all_nodes)
    kinds = {pool.id: pool.kind for pool in pools}
    for node in nodes:
        site = sites.by_node.get(node.name, sites.by_node.get(EVERY_NODE))
        if site is not None and node.pool and node.is_edge:
            assert site == node.pool
            assert kinds[node.pool].is_site
    assert sites == decide(reversed(nodes), pools, all_nodes=all_nodes)
