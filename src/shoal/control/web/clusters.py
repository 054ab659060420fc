"""Clusters: version, node pools, RRSA and the P2P component of each."""

from collections.abc import Callable
from dataclasses import replace

from aiohttp import web
from sqlalchemy import Connection

from shoal.control.store import access, clusters, instances
from shoal.control.store.changes import Change
from shoal.control.web.render import page
from shoal.control.web.security import for_visit
from shoal.control.web.visit import Visit
from shoal.core.console import fields
from shoal.core.console.models import Cluster, NodePool, OidcProvider, PoolKind, ram_arn
from shoal.core.console.switch import component_state


def routes() -> list[web.RouteDef]:
    """Return the pages' addresses."""
    one = "/clusters/{id}"
    return [
        web.get("/clusters", for_visit(_list_page)),
        web.get("/clusters/new", for_visit(_new_page)),
        web.post("/clusters/new", for_visit(_create)),
        web.get(one, for_visit(_cluster_page)),
        web.post(f"{one}/settings", for_visit(_settings)),
        web.post(f"{one}/rrsa", for_visit(_rrsa)),
        web.post(f"{one}/pools", for_visit(_put_pool)),
        web.post(f"{one}/pools/remove", for_visit(_remove_pool)),
        web.post(f"{one}/forget", for_visit(_forget)),
        web.post(f"{one}/delete", for_visit(_delete)),
    ]


def provider_name(cluster_id: str) -> str:
    """Return the name of a cluster's OIDC provider, as the cloud forms it."""
    return f"ack-rrsa-{cluster_id}"


def provider_arn(cluster: Cluster) -> str:
    """Return the ARN of a cluster's OIDC provider, whether it is there or not."""
    return ram_arn(cluster.account, "oidc-provider", provider_name(cluster.id))


async def _list_page(visit: Visit) -> web.StreamResponse:
    def load(connection: Connection) -> dict[str, object]:
        found = clusters.find_all(connection, account=visit.account)
        components: dict[str, list[str]] = {}
        for component in clusters.components(connection):
            components.setdefault(component.cluster_id, []).append(component.version)
        return {
            "clusters": found,
            "components": components,
            "pools": {cluster.id: clusters.pools(connection, cluster.id) for cluster in found},
        }

    return page(visit, "clusters.html", await visit.read(load))


async def _new_page(visit: Visit) -> web.StreamResponse:
    visit.form.values.setdefault("region", visit.region)
    return page(visit, "cluster_new.html")


async def _create(visit: Visit) -> web.StreamResponse:
    form = visit.form
    cluster = Cluster(
        id=form.take("id", fields.cluster_id),
        account=visit.account,
        name=form.take("name", fields.kubernetes_name),
        region=form.take("region", fields.region),
        vpc_id=form.take("vpc_id", fields.vpc_id),
        edge=form.ticked("edge"),
        version=form.take("version", fields.version).removeprefix("v"),
        rrsa_enabled=False,
        rrsa_issuer="",
        created_at=visit.console.now_s,
    )
    if form.is_good and await visit.attempt(
        lambda change: clusters.create(change, cluster),
        action="CreateCluster",
        resource=cluster.id,
    ):
        raise web.HTTPSeeOther(f"/console/clusters/{cluster.id}")
    return await _new_page(visit)


async def _cluster_page(visit: Visit) -> web.StreamResponse:
    id_ = visit.path_id
    now_s = visit.console.now_s

    def load(connection: Connection) -> dict[str, object]:
        known = {one.id: one for one in instances.find_all(connection)}
        cluster = clusters.find(connection, id_)
        return {
            "cluster": cluster,
            "pools": clusters.pools(connection, id_),
            "components": [
                (
                    one,
                    known[one.instance_id],
                    component_state(one, known[one.instance_id], now_s=now_s),
                )
                for one in clusters.components(connection, cluster_id=id_)
            ],
            "provider_arn": provider_arn(cluster),
        }

    loaded = await visit.read(load)
    found = loaded["cluster"]
    assert isinstance(found, Cluster)  # noqa: S101 # put there above
    visit.form.values.setdefault("version", found.version)
    visit.form.values.setdefault("vpc_id", found.vpc_id)
    visit.form.values.setdefault("issuer", found.rrsa_issuer)
    return page(visit, "cluster.html", loaded)


async def _apply(
    visit: Visit, work: Callable[[Change], None], *, action: str, then: str = ""
) -> web.StreamResponse:
    id_ = visit.path_id
    if visit.form.is_good and await visit.attempt(work, action=action, resource=id_):
        raise web.HTTPSeeOther(then or f"/console/clusters/{id_}")
    return await _cluster_page(visit)


async def _settings(visit: Visit) -> web.StreamResponse:
    version = visit.form.take("version", fields.version).removeprefix("v")
    vpc_id = visit.form.take("vpc_id", fields.vpc_id)

    def work(change: Change) -> None:
        cluster = clusters.find(change.connection, visit.path_id)
        clusters.edit(change, replace(cluster, version=version, vpc_id=vpc_id))

    return await _apply(visit, work, action="ModifyCluster")


async def _rrsa(visit: Visit) -> web.StreamResponse:
    enable = visit.form.values.get("enable") == "on"
    issuer = visit.form.take("issuer", fields.issuer) if enable else ""

    def work(change: Change) -> None:
        cluster = clusters.find(change.connection, visit.path_id)
        changed = replace(
            cluster, rrsa_enabled=enable, rrsa_issuer=issuer if enable else cluster.rrsa_issuer
        )
        clusters.edit(change, changed)
        name = provider_name(cluster.id)
        known = {one.name for one in access.providers(change.connection, cluster.account)}
        if enable:
            provider = OidcProvider(
                cluster.account, name, issuer, ("sts.aliyuncs.com",), "", change.now_s
            )
            access.put_provider(change, provider)
        elif name in known:
            access.remove_provider(change, cluster.account, name)

    return await _apply(visit, work, action="ModifyCluster")


async def _put_pool(visit: Visit) -> web.StreamResponse:
    form = visit.form
    kind = form.take("pool_kind", fields.pool_kind)
    pool_id = form.take("pool_id", fields.pool_id)
    name = form.take("pool_name", fields.line) or pool_id
    nodes = form.take("pool_nodes", fields.whole(0, 100_000))
    if not form.is_good:
        return await _cluster_page(visit)
    edge = kind == PoolKind.EDGE
    pool = NodePool(
        id=pool_id,
        cluster_id=visit.path_id,
        name=name,
        kind=PoolKind(kind),
        dedicated=edge and form.ticked("pool_dedicated"),
        interconnected=not edge or form.ticked("pool_interconnected"),
        nodes=int(nodes),
    )
    return await _apply(visit, lambda change: clusters.put_pool(change, pool), action="PutNodePool")


async def _remove_pool(visit: Visit) -> web.StreamResponse:
    pool_id = visit.form.take("remove_pool", fields.pool_id)
    return await _apply(
        visit,
        lambda change: clusters.remove_pool(change, visit.path_id, pool_id),
        action="DeleteNodePool",
    )


async def _forget(visit: Visit) -> web.StreamResponse:
    instance_id = visit.form.values.get("instance_id", "")
    return await _apply(
        visit,
        lambda change: clusters.uninstalled(change, visit.path_id, instance_id, by_hand=True),
        action="ForgetComponent",
    )


async def _delete(visit: Visit) -> web.StreamResponse:
    return await _apply(
        visit,
        lambda change: clusters.remove(change, visit.path_id),
        action="DeleteCluster",
        then="/console/clusters",
    )
