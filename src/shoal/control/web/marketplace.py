"""Marketplace: the component's page, and the Parameters panel that makes its values."""

from aiohttp import web
from sqlalchemy import Connection

from shoal.control.store import access, clusters, instances
from shoal.control.store.records import NotFound
from shoal.control.web.clusters import provider_arn
from shoal.control.web.render import page
from shoal.control.web.security import for_visit
from shoal.control.web.visit import Form, Visit
from shoal.core.console import chart_values, fields
from shoal.core.console.chart_values import (
    CHART,
    DEFAULT_PORT,
    NAMESPACE,
    Finding,
    InstanceFacts,
    Method,
    Parameters,
    Severity,
    Surroundings,
)

METHODS = (
    (
        Method.WORKER_ROLE,
        "Worker RAM role",
        "Recommended where instance and cluster belong to one account. No credentials to manage.",
    ),
    (
        Method.ACCESS_KEY,
        "AccessKey pair of a RAM user",
        "For clusters outside the cloud, as in your own data centre.",
    ),
    (
        Method.RRSA,
        "RAM Roles for Service Accounts (RRSA)",
        "Access control by pod, also across accounts. Enable RRSA on the cluster first.",
    ),
)


def routes() -> list[web.RouteDef]:
    """Return the pages' addresses."""
    return [
        web.get("/marketplace", for_visit(_market_page)),
        web.get(f"/marketplace/{CHART}", for_visit(_component_page)),
        web.get(f"/marketplace/{CHART}/deploy", for_visit(_deploy_page)),
        web.post(f"/marketplace/{CHART}/deploy", for_visit(_deploy)),
    ]


async def _market_page(visit: Visit) -> web.StreamResponse:
    return page(visit, "marketplace.html")


async def _component_page(visit: Visit) -> web.StreamResponse:
    found = await visit.read(
        lambda connection: (clusters.components(connection), clusters.names(connection))
    )
    return page(visit, "component.html", components=found[0], cluster_names=found[1])


async def _deploy_page(
    visit: Visit,
    *,
    findings: tuple[Finding, ...] = (),
    values: str = "",
    command: str = "",
) -> web.StreamResponse:
    form = visit.form
    for name in ("cluster", "method"):
        form.values.setdefault(name, visit.request.query.get(name, ""))

    def load(connection: Connection) -> dict[str, object]:
        all_clusters = clusters.find_all(connection)
        chosen = next((one for one in all_clusters if one.id == form.values["cluster"]), None)
        if chosen is not None and not form.values.get("provider_arn"):
            form.values["provider_arn"] = provider_arn(chosen) if chosen.rrsa_enabled else ""
        return {
            "clusters": all_clusters,
            "pools": [
                (cluster, clusters.pools(connection, cluster.id)) for cluster in all_clusters
            ],
            "instances": instances.find_all(connection),
            "role_arns": [role.arn for role in access.roles(connection)],
            "keys": [key for key in access.all_keys(connection) if key.active],
        }

    loaded = await visit.read(load)
    for name, default in _DEFAULTS.items():
        if not form.values.get(name):
            form.values[name] = default
    return page(
        visit,
        "deploy.html",
        loaded,
        methods=METHODS,
        findings=findings,
        values=values,
        command=command,
        chosen_instances=form.lists.get("instances", []),
    )


_DEFAULTS = {
    "method": Method.WORKER_ROLE.value,
    "release": CHART,
    "namespace": NAMESPACE,
    "port": str(DEFAULT_PORT),
    "expire_s": "3600",
}


async def _deploy(visit: Visit) -> web.StreamResponse:
    form = visit.form
    chosen = _parameters(form)
    if chosen is None:
        return await _deploy_page(visit)
    wanted = form.lists.get("instances", [])
    cluster_id = form.values.get("cluster", "")
    try:
        around = await visit.read(lambda connection: _surroundings(connection, cluster_id, wanted))
    except NotFound as missing:
        form.errors["cluster"] = f"Choose a cluster: {missing}."
        return await _deploy_page(visit)
    findings = chart_values.findings(chosen, around)
    if any(finding.severity is Severity.ERROR for finding in findings):
        for finding in findings:
            if finding.severity is Severity.ERROR:
                form.errors.setdefault(finding.field, finding.message)
        return await _deploy_page(visit, findings=findings)
    scheme = "https" if visit.console.secure else "http"
    values = chart_values.values_yaml(
        chosen,
        wanted,
        cluster=around.cluster,
        console_url=f"{scheme}://{visit.request.host}",
    )
    if form.values.get("do") == "download":
        return web.Response(
            text=values,
            content_type="application/yaml",
            headers={"Content-Disposition": 'attachment; filename="values.yaml"'},
        )
    return await _deploy_page(
        visit, findings=findings, values=values, command=chart_values.helm_command(chosen)
    )


def _parameters(form: Form) -> Parameters | None:
    """Return what the form says, or None after noting what is wrong with it."""
    method = form.take("method", fields.one_of(Method))
    rrsa, key = method == Method.RRSA, method == Method.ACCESS_KEY
    arn = fields.optional(fields.arn)
    texts = {
        "release": form.take("release", fields.kubernetes_name),
        "namespace": form.take("namespace", fields.kubernetes_name),
        "region": form.take("region", fields.optional(fields.region)),
        "vpc_id": form.take("vpc_id", fields.optional(fields.vpc_id)),
        "pool_id": form.take("pool_id", fields.optional(fields.pool_id)),
        "access_key": form.take("access_key", fields.optional(fields.principal)) if key else "",
        "role_arn": form.take("role_arn", arn) if rrsa else "",
        "provider_arn": form.take("provider_arn", arn) if rrsa else "",
        "assume_role_arn": form.take("assume_role_arn", arn) if rrsa else "",
    }
    port = form.take("port", fields.port)
    lifetime = fields.whole(fields.MIN_EXPIRE_S, fields.MAX_EXPIRE_S)
    expire_s = form.take("expire_s", lifetime) if rrsa else "3600"
    if not form.is_good:
        return None
    return Parameters(method=Method(method), port=int(port), expire_s=int(expire_s), **texts)


def _surroundings(connection: Connection, cluster_id: str, wanted: list[str]) -> Surroundings:
    return Surroundings(
        cluster=clusters.find(connection, cluster_id),
        pools=clusters.pools(connection, cluster_id),
        instances=[
            InstanceFacts(
                instances.find(connection, id_),
                instances.endpoints(connection, id_),
                instances.links(connection, id_),
            )
            for id_ in wanted
        ],
        roles={role.arn: role for role in access.roles(connection)},
        provider_arns=[one.arn for one in access.providers(connection)],
        key_accounts={key.id: key.account for key in access.all_keys(connection)},
    )
