"""Instances: made, linked, switched and removed, by the rules."""

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
    EndpointKind,
    Instance,
    InstanceStatus,
    LinkStatus,
    VpcLink,
)
from shoal.core.console.switch import SwitchRefused
from unit.control.account import ACCOUNT

TEAM = Instance(
    id="cri-a1b2c3d4",
    account=ACCOUNT,
    name="team",
    region="cn-hangzhou",
    edition=Edition.STANDARD,
    status=InstanceStatus.RUNNING,
    registry_url="http://127.0.0.1:5000",
    p2p_enabled=False,
    p2p_generation=0,
    p2p_changed_at=None,
    created_at=1,
    modified_at=1,
)
LINK = VpcLink(TEAM.id, "vpc-1", "vsw-1", "10.0.0.5", LinkStatus.RUNNING, True)
FACTORY = Cluster("c1", ACCOUNT, "factory", "cn-hangzhou", "vpc-1", True, "1.28.3", False, "", 1)
COMPONENT = Component("c1", TEAM.id, "0.4.0", "access-key", 1, 1, 1)


@pytest.fixture
def team(changes: Changes, author: Author) -> Instance:
    with changes.by(author) as change:
        instances.create(change, TEAM)
    return TEAM


def test_an_instance_has_two_endpoints_by_the_clouds_names(
    team: Instance, database: Database
) -> None:
    with database.read() as connection:
        assert instances.find(connection, team.id) == team
        assert instances.find_all(connection, region="eu-central-1") == []
        assert instances.regions(connection, ACCOUNT) == ["cn-hangzhou"]
        internet, vpc = instances.endpoints(connection, team.id)
    assert internet.domains == ("team-registry.cn-hangzhou.cr.aliyuncs.com",)
    assert vpc.domains == ("team-registry-vpc.cn-hangzhou.cr.aliyuncs.com",)
    assert (internet.enabled, vpc.enabled) == (False, True)


def test_a_name_is_taken_once_in_a_region(team: Instance, changes: Changes, author: Author) -> None:
    with pytest.raises(AlreadyExists), changes.by(author) as change:
        instances.create(change, replace(team, id="cri-other"))
    with changes.by(author) as change:
        instances.create(change, replace(team, id="cri-other", region="eu-central-1"))


def test_a_vpc_is_linked_once_and_unlinked_once(
    team: Instance, database: Database, changes: Changes, author: Author
) -> None:
    with changes.by(author) as change:
        instances.add_link(change, LINK)
        with pytest.raises(AlreadyExists):
            instances.add_link(change, LINK)
    with database.read() as connection:
        assert instances.links(connection, team.id) == [LINK]
    with changes.by(author) as change:
        instances.remove_link(change, team.id, "vpc-1")
        with pytest.raises(NotFound):
            instances.remove_link(change, team.id, "vpc-1")


def test_an_endpoint_is_replaced_whole(
    team: Instance, database: Database, changes: Changes, author: Author
) -> None:
    with database.read() as connection:
        internet, _ = instances.endpoints(connection, team.id)
    changed = replace(internet, enabled=True, domains=("r.example.com",), acl=("10.0.0.0/8",))
    with changes.by(author) as change:
        instances.put_endpoint(change, changed)
    with database.read() as connection:
        assert instances.endpoints(connection, team.id)[0] == changed
        assert events(connection)[0].detail == "internet: on, r.example.com, ACL 10.0.0.0/8"
    assert changed.kind is EndpointKind.INTERNET


def test_switching_goes_by_the_rules_and_is_recorded(
    team: Instance, database: Database, changes: Changes, author: Author
) -> None:
    with changes.by(author) as change:
        instances.switch(change, team.id, enable=True, confirmed=True)
        clusters.create(change, FACTORY)
        clusters.report(change, COMPONENT, installed=True)
    with pytest.raises(SwitchRefused, match="factory"), changes.by(author) as change:
        instances.switch(change, team.id, enable=False, confirmed=True)
    with changes.by(author) as change:
        instances.switch(change, team.id, enable=False, confirmed=True, forced=True)
    with database.read() as connection:
        assert not instances.find(connection, team.id).p2p_enabled
        assert events(connection)[0].detail == "off, by force: still installed in c1"
    with changes.by(author) as change:
        assert instances.switch(change, team.id, enable=True, confirmed=True).generation == 2


def test_an_instance_that_shares_keeps_an_edition_that_may(
    team: Instance, changes: Changes, author: Author
) -> None:
    with changes.by(author) as change:
        instances.switch(change, team.id, enable=True, confirmed=True)
        instances.edit(change, team.id, edition=Edition.ADVANCED, registry_url="http://r")
    with pytest.raises(SwitchRefused), changes.by(author) as change:
        instances.edit(change, team.id, edition=Edition.BASIC, registry_url="http://r")


def test_an_instance_in_use_is_not_removed(
    team: Instance, database: Database, changes: Changes, author: Author
) -> None:
    with changes.by(author) as change:
        instances.switch(change, team.id, enable=True, confirmed=True)
        with pytest.raises(StillInUse):
            instances.remove(change, team.id)
        instances.switch(change, team.id, enable=False, confirmed=True)
        instances.remove(change, team.id)
    with database.read() as connection, pytest.raises(NotFound):
        instances.find(connection, team.id)
