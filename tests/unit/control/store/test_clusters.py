"""Clusters, their pools, and components that report."""

from dataclasses import replace

import pytest

from shoal.control.store import clusters, instances
from shoal.control.store.changes import Author, Changes, events
from shoal.control.store.database import Database
from shoal.control.store.records import AlreadyExists, NotFound, StillInUse
from shoal.core.console.models import (
    Cluster,
    Component,
    Edition,
    Instance,
    InstanceStatus,
    NodePool,
    PoolKind,
)
from unit.control.account import ACCOUNT

FACTORY = Cluster("c1", ACCOUNT, "factory", "cn-hangzhou", "vpc-1", True, "1.28.3", False, "", 1)
POOL = NodePool("np1", "c1", "line-1", PoolKind.EDGE, True, True, 12)
COMPONENT = Component("c1", "cri-1", "0.4.0", "rrsa", 1, 10, 10)


@pytest.fixture(autouse=True)
def factory(changes: Changes, author: Author) -> None:
    instance = Instance(
        "cri-1", ACCOUNT, "team", "cn-hangzhou", Edition.STANDARD, InstanceStatus.RUNNING,
        "http://r", True, 1, 1, 1, 1,
    )  # fmt: skip
    with changes.by(author) as change:
        instances.create(change, instance)
        clusters.create(change, FACTORY)


def test_a_cluster_is_added_once_and_edited(
    database: Database, changes: Changes, author: Author
) -> None:
    with pytest.raises(AlreadyExists), changes.by(author) as change:
        clusters.create(change, FACTORY)
    changed = replace(FACTORY, rrsa_enabled=True, rrsa_issuer="https://issuer")
    with changes.by(author) as change:
        clusters.edit(change, changed)
    with database.read() as connection:
        assert clusters.find_all(connection) == [changed]
        assert clusters.names(connection) == {"c1": "factory"}
        with pytest.raises(NotFound):
            clusters.find(connection, "c2")


def test_a_pool_is_put_replaced_and_removed(
    database: Database, changes: Changes, author: Author
) -> None:
    with changes.by(author) as change:
        clusters.put_pool(change, POOL)
        clusters.put_pool(change, replace(POOL, nodes=13))
        clusters.create(change, replace(FACTORY, id="c2"))
        with pytest.raises(AlreadyExists, match="belongs to cluster c1"):
            clusters.put_pool(change, replace(POOL, cluster_id="c2"))
    with database.read() as connection:
        assert [pool.nodes for pool in clusters.pools(connection, "c1")] == [13]
    with changes.by(author) as change:
        clusters.remove_pool(change, "c1", "np1")
        with pytest.raises(NotFound):
            clusters.remove_pool(change, "c1", "np1")


def test_only_an_installation_brings_a_component_under_the_present_switch(
    database: Database, changes: Changes, author: Author
) -> None:
    with changes.by(author) as change:
        clusters.report(change, COMPONENT, installed=True)
        clusters.report(
            change, replace(COMPONENT, p2p_generation=2, reported_at=20), installed=False
        )
    with database.read() as connection:
        (kept,) = clusters.components(connection, instance_id="cri-1")
        assert (kept.p2p_generation, kept.reported_at, kept.installed_at) == (1, 20, 10)
    with changes.by(author) as change:
        clusters.report(change, replace(COMPONENT, p2p_generation=2), installed=True)
    with database.read() as connection:
        (kept,) = clusters.components(connection, cluster_id="c1")
        assert kept.p2p_generation == 2


def test_heartbeats_do_not_fill_the_audit_trail(
    database: Database, changes: Changes, author: Author
) -> None:
    with changes.by(author) as change:
        clusters.report(change, COMPONENT, installed=True)
    for at in range(20, 30):
        with changes.by(author) as change:
            clusters.report(change, replace(COMPONENT, reported_at=at), installed=False)
    with database.read() as connection:
        reports = [event for event in events(connection) if event.action == "ReportComponent"]
    assert len(reports) == 1


def test_a_cluster_with_the_component_stays_until_it_is_uninstalled(
    changes: Changes, author: Author
) -> None:
    with changes.by(author) as change:
        clusters.report(change, COMPONENT, installed=True)
        with pytest.raises(StillInUse):
            clusters.remove(change, "c1")
        clusters.uninstalled(change, "c1", "cri-1", by_hand=False)
        with pytest.raises(NotFound):
            clusters.uninstalled(change, "c1", "cri-1", by_hand=True)
        clusters.remove(change, "c1")
