"""Instances, their endpoints, VPC links and the P2P switch."""

from collections.abc import Sequence
from dataclasses import replace

from sqlalchemy import Connection, delete, insert, select, update

from shoal.control.store import clusters, ids
from shoal.control.store.changes import Change
from shoal.control.store.records import AlreadyExists, NotFound, StillInUse, from_row, to_row
from shoal.control.store.tables import ENDPOINT, INSTANCE, VPC_LINK
from shoal.core.console.models import (
    Edition,
    Endpoint,
    EndpointKind,
    Instance,
    InstanceStatus,
    VpcLink,
)
from shoal.core.console.switch import Switched, switch_off, switch_on


def find_all(
    connection: Connection, *, account: str | None = None, region: str | None = None
) -> list[Instance]:
    """Return the instances of an account and a region, or of all, by name."""
    query = select(INSTANCE).order_by(INSTANCE.c.name, INSTANCE.c.id)
    if account is not None:
        query = query.where(INSTANCE.c.account == account)
    if region is not None:
        query = query.where(INSTANCE.c.region == region)
    return [from_row(Instance, row) for row in connection.execute(query)]


def find(connection: Connection, id_: str) -> Instance:
    """Return one instance.

    Raises:
        NotFound: There is none of this id.
    """
    row = connection.execute(select(INSTANCE).where(INSTANCE.c.id == id_)).one_or_none()
    if row is None:
        raise NotFound(f"there is no instance {id_}")
    return from_row(Instance, row)


def regions(connection: Connection, account: str) -> list[str]:
    """Return the regions in which an account has instances."""
    query = select(INSTANCE.c.region).where(INSTANCE.c.account == account)
    return list(connection.execute(query.distinct().order_by(INSTANCE.c.region)).scalars())


def endpoints(connection: Connection, id_: str) -> list[Endpoint]:
    """Return the endpoints of an instance, by kind."""
    query = select(ENDPOINT).where(ENDPOINT.c.instance_id == id_).order_by(ENDPOINT.c.kind)
    return [from_row(Endpoint, row) for row in connection.execute(query)]


def links(connection: Connection, id_: str) -> list[VpcLink]:
    """Return the VPCs that may reach an instance, by id."""
    query = select(VPC_LINK).where(VPC_LINK.c.instance_id == id_).order_by(VPC_LINK.c.vpc_id)
    return [from_row(VpcLink, row) for row in connection.execute(query)]


def create(change: Change, instance: Instance) -> None:
    """Add an instance with its two endpoints, named as the cloud names them.

    Raises:
        AlreadyExists: The name is taken in this region.
    """
    taken = select(INSTANCE.c.id).where(
        INSTANCE.c.region == instance.region, INSTANCE.c.name == instance.name
    )
    if change.connection.execute(taken).first() is not None:
        raise AlreadyExists(f"{instance.region} has an instance named {instance.name} already")
    change.connection.execute(insert(INSTANCE).values(to_row(instance)))
    for kind, suffix in ((EndpointKind.INTERNET, ""), (EndpointKind.VPC, "-vpc")):
        endpoint = Endpoint(
            instance_id=instance.id,
            kind=kind,
            enabled=kind is EndpointKind.VPC,
            acl_enabled=True,
            domains=(f"{instance.name}-registry{suffix}.{instance.region}.cr.aliyuncs.com",),
            acl=(),
        )
        change.connection.execute(insert(ENDPOINT).values(to_row(endpoint)))
    change.record("CreateInstance", instance.id, f"{instance.name}, {instance.edition.label}")


def make(
    change: Change, account: str, *, name: str, region: str, edition: Edition, registry_url: str
) -> Instance:
    """Add a new instance, with P2P Acceleration off, and return it.

    Raises:
        AlreadyExists: The name is taken in this region.
    """
    made = Instance(
        id=ids.instance_id(),
        account=account,
        name=name,
        region=region,
        edition=edition,
        status=InstanceStatus.RUNNING,
        registry_url=registry_url,
        p2p_enabled=False,
        p2p_generation=0,
        p2p_changed_at=None,
        created_at=change.now_s,
        modified_at=change.now_s,
    )
    create(change, made)
    return made


def edit(change: Change, id_: str, *, edition: Edition, registry_url: str) -> None:
    """Change what an instance is. An instance that shares keeps an edition that may."""
    instance = find(change.connection, id_)
    if instance.p2p_enabled:
        switch_on(replace(instance, edition=edition), confirmed=True)
    change.connection.execute(
        update(INSTANCE)
        .where(INSTANCE.c.id == id_)
        .values(edition=edition.value, registry_url=registry_url, modified_at=change.now_s)
    )
    change.record("ModifyInstance", id_, f"{edition.label}, registry at {registry_url}")


def remove(change: Change, id_: str) -> None:
    """Delete an instance.

    Raises:
        StillInUse: Its P2P switch is on, or clusters run its component.
    """
    instance = find(change.connection, id_)
    if instance.p2p_enabled or clusters.components(change.connection, instance_id=id_):
        raise StillInUse(
            f"{instance.name} has P2P Acceleration on, or clusters with its component: switch it "
            "off and uninstall the component first"
        )
    change.connection.execute(delete(INSTANCE).where(INSTANCE.c.id == id_))
    change.record("DeleteInstance", id_, instance.name)


def switch(
    change: Change, id_: str, *, enable: bool, confirmed: bool, forced: bool = False
) -> Switched:
    """Turn P2P Acceleration on or off by the rules of `core.console.switch`.

    Raises:
        NotFound: There is no such instance.
        SwitchRefused: The rules say no.
    """
    instance = find(change.connection, id_)
    running = clusters.components(change.connection, instance_id=id_)
    switched = (
        switch_on(instance, confirmed=confirmed)
        if enable
        else switch_off(
            instance,
            running,
            clusters.names(change.connection),
            confirmed=confirmed,
            forced=forced,
        )
    )
    if switched.enabled != instance.p2p_enabled:
        change.connection.execute(
            update(INSTANCE)
            .where(INSTANCE.c.id == id_)
            .values(
                p2p_enabled=switched.enabled,
                p2p_generation=switched.generation,
                p2p_changed_at=change.now_s,
                modified_at=change.now_s,
            )
        )
    still = ", ".join(sorted(component.cluster_id for component in running))
    change.record(
        "SetInstanceP2PAcceleration",
        id_,
        ("on" if enable else "off") + (f", by force: still installed in {still}" if forced else ""),
    )
    return switched


def put_endpoint(change: Change, endpoint: Endpoint) -> None:
    """Replace an endpoint's switch, domains and ACL."""
    find(change.connection, endpoint.instance_id)
    values = dict(to_row(endpoint))
    change.connection.execute(
        update(ENDPOINT)
        .where(
            ENDPOINT.c.instance_id == endpoint.instance_id, ENDPOINT.c.kind == endpoint.kind.value
        )
        .values(values)
    )
    change.record(
        "UpdateInstanceEndpoint",
        endpoint.instance_id,
        f"{endpoint.kind}: {'on' if endpoint.enabled else 'off'}, {_listed(endpoint.domains)}, "
        f"ACL {_listed(endpoint.acl) if endpoint.acl_enabled else 'off'}",
    )


def add_link(change: Change, link: VpcLink) -> None:
    """Let a VPC reach an instance.

    Raises:
        AlreadyExists: It may already.
    """
    find(change.connection, link.instance_id)
    if any(known.vpc_id == link.vpc_id for known in links(change.connection, link.instance_id)):
        raise AlreadyExists(f"{link.vpc_id} is in the VPC ACL of {link.instance_id} already")
    change.connection.execute(insert(VPC_LINK).values(to_row(link)))
    change.record("CreateInstanceVpcEndpointLinkedVpc", link.instance_id, link.vpc_id)


def remove_link(change: Change, id_: str, vpc_id: str) -> None:
    """Take a VPC out of an instance's VPC ACL.

    Raises:
        NotFound: It is not in it.
    """
    gone = change.connection.execute(
        delete(VPC_LINK).where(VPC_LINK.c.instance_id == id_, VPC_LINK.c.vpc_id == vpc_id)
    )
    if not gone.rowcount:
        raise NotFound(f"{vpc_id} is not in the VPC ACL of {id_}")
    change.record("DeleteInstanceVpcEndpointLinkedVpc", id_, vpc_id)


def _listed(items: Sequence[str]) -> str:
    return ", ".join(items) or "none"
