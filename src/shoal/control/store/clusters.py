"""Clusters, their node pools, and the components that they report."""

from sqlalchemy import Connection, delete, insert, select, update

from shoal.control.store.changes import Change
from shoal.control.store.records import AlreadyExists, NotFound, StillInUse, from_row, to_row
from shoal.control.store.tables import CLUSTER, COMPONENT, NODE_POOL
from shoal.core.console.models import Cluster, Component, NodePool


def find_all(connection: Connection, *, account: str | None = None) -> list[Cluster]:
    """Return the clusters of an account, or all, by name."""
    query = select(CLUSTER).order_by(CLUSTER.c.name, CLUSTER.c.id)
    if account is not None:
        query = query.where(CLUSTER.c.account == account)
    return [from_row(Cluster, row) for row in connection.execute(query)]


def find(connection: Connection, id_: str) -> Cluster:
    """Return one cluster.

    Raises:
        NotFound: There is none of this id.
    """
    row = connection.execute(select(CLUSTER).where(CLUSTER.c.id == id_)).one_or_none()
    if row is None:
        raise NotFound(f"there is no cluster {id_}")
    return from_row(Cluster, row)


def names(connection: Connection) -> dict[str, str]:
    """Return the names of all clusters by id."""
    rows = connection.execute(select(CLUSTER.c.id, CLUSTER.c.name))
    return {row.id: row.name for row in rows}


def pools(connection: Connection, cluster_id: str) -> list[NodePool]:
    """Return the node pools of a cluster, by name."""
    query = select(NODE_POOL).where(NODE_POOL.c.cluster_id == cluster_id).order_by(NODE_POOL.c.name)
    return [from_row(NodePool, row) for row in connection.execute(query)]


def components(
    connection: Connection, *, instance_id: str | None = None, cluster_id: str | None = None
) -> list[Component]:
    """Return components that were not uninstalled, of an instance, of a cluster, or all."""
    query = select(COMPONENT).order_by(COMPONENT.c.cluster_id, COMPONENT.c.instance_id)
    if instance_id is not None:
        query = query.where(COMPONENT.c.instance_id == instance_id)
    if cluster_id is not None:
        query = query.where(COMPONENT.c.cluster_id == cluster_id)
    return [from_row(Component, row) for row in connection.execute(query)]


def create(change: Change, cluster: Cluster) -> None:
    """Add a cluster.

    Raises:
        AlreadyExists: Its id is known.
    """
    if cluster.id in names(change.connection):
        raise AlreadyExists(f"cluster {cluster.id} is there already")
    change.connection.execute(insert(CLUSTER).values(to_row(cluster)))
    change.record("CreateCluster", cluster.id, f"{cluster.name}, {cluster.version}")


def edit(change: Change, cluster: Cluster) -> None:
    """Replace what is known of a cluster."""
    find(change.connection, cluster.id)
    change.connection.execute(
        update(CLUSTER).where(CLUSTER.c.id == cluster.id).values(to_row(cluster))
    )
    rrsa = f"RRSA on, {cluster.rrsa_issuer}" if cluster.rrsa_enabled else "RRSA off"
    change.record("ModifyCluster", cluster.id, f"{cluster.version}, {cluster.vpc_id}, {rrsa}")


def remove(change: Change, id_: str) -> None:
    """Forget a cluster.

    Raises:
        StillInUse: It still runs the component.
    """
    cluster = find(change.connection, id_)
    if components(change.connection, cluster_id=id_):
        raise StillInUse(f"{cluster.name} still runs the P2P component: uninstall it first")
    change.connection.execute(delete(CLUSTER).where(CLUSTER.c.id == id_))
    change.record("DeleteCluster", id_, cluster.name)


def put_pool(change: Change, pool: NodePool) -> None:
    """Add a node pool, or replace the one of the same id.

    Raises:
        AlreadyExists: The id is another cluster's.
    """
    find(change.connection, pool.cluster_id)
    owner = change.connection.execute(
        select(NODE_POOL.c.cluster_id).where(NODE_POOL.c.id == pool.id)
    ).scalar_one_or_none()
    if owner not in (None, pool.cluster_id):
        raise AlreadyExists(f"node pool {pool.id} belongs to cluster {owner}")
    change.connection.execute(delete(NODE_POOL).where(NODE_POOL.c.id == pool.id))
    change.connection.execute(insert(NODE_POOL).values(to_row(pool)))
    change.record("PutNodePool", pool.cluster_id, f"{pool.name} ({pool.id}), {pool.kind}")


def remove_pool(change: Change, cluster_id: str, pool_id: str) -> None:
    """Forget a node pool.

    Raises:
        NotFound: The cluster has none of this id.
    """
    gone = change.connection.execute(
        delete(NODE_POOL).where(NODE_POOL.c.id == pool_id, NODE_POOL.c.cluster_id == cluster_id)
    )
    if not gone.rowcount:
        raise NotFound(f"cluster {cluster_id} has no node pool {pool_id}")
    change.record("DeleteNodePool", cluster_id, pool_id)


def report(change: Change, component: Component, *, installed: bool) -> None:
    """Take in what a cluster's Job (`installed`) or controller says of its component.

    Only an installation brings a component under the instance's present switch: a controller that
    goes on reporting keeps the count that it was installed under.
    """
    key = (
        (COMPONENT.c.cluster_id == component.cluster_id)
        & (COMPONENT.c.instance_id == component.instance_id)
    )  # fmt: skip
    known = change.connection.execute(select(COMPONENT).where(key)).one_or_none()
    if known is not None and not installed:
        change.connection.execute(
            update(COMPONENT)
            .where(key)
            .values(version=component.version, reported_at=component.reported_at)
        )
        if known.version == component.version:
            change.is_routine()  # a heartbeat changes nothing that anyone would look for
            return
    else:
        change.connection.execute(delete(COMPONENT).where(key))
        change.connection.execute(insert(COMPONENT).values(to_row(component)))
    change.record(
        "ReportComponent", component.cluster_id, f"{component.instance_id}, {component.version}"
    )


def report_from(
    change: Change, cluster: Cluster, component: Component, *, installed: bool
) -> Component:
    """Take in a report, also of a cluster that is not known yet; return what is on record now."""
    if cluster.id not in names(change.connection):
        create(change, cluster)
    report(change, component, installed=installed)
    (kept,) = components(
        change.connection, instance_id=component.instance_id, cluster_id=component.cluster_id
    )
    return kept


def uninstalled(change: Change, cluster_id: str, instance_id: str, *, by_hand: bool) -> None:
    """Take a component off the record: its cluster says it is gone, or a person does.

    Raises:
        NotFound: There is none on record.
    """
    gone = change.connection.execute(
        delete(COMPONENT).where(
            COMPONENT.c.cluster_id == cluster_id, COMPONENT.c.instance_id == instance_id
        )
    )
    if not gone.rowcount:
        raise NotFound(f"cluster {cluster_id} has no P2P component for {instance_id} on record")
    change.record("ForgetComponent" if by_hand else "UninstallComponent", cluster_id, instance_id)
