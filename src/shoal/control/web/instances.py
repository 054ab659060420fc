"""Instances: the list, a new one, its Overview with the P2P Acceleration switch, its network."""

from collections.abc import Callable

from aiohttp import web
from sqlalchemy import Connection

from shoal.control.store import changes, clusters, instances
from shoal.control.store.changes import Change
from shoal.control.web.render import page
from shoal.control.web.security import for_visit
from shoal.control.web.visit import Visit
from shoal.core.console import fields
from shoal.core.console.models import (
    Edition,
    Endpoint,
    EndpointKind,
    Instance,
    LinkStatus,
    VpcLink,
)
from shoal.core.console.switch import (
    EDITIONS_WITH_P2P,
    PASS_THROUGH_WITHIN_S,
    component_state,
    what_forcing_breaks,
)

_EDITIONS = [(edition.value, edition.label) for edition in Edition]
_Work = Callable[[Change], None]


def routes() -> list[web.RouteDef]:
    """Return the pages' addresses."""
    one = "/instances/{id}"
    return [
        web.get("/instances", for_visit(_list_page)),
        web.get("/instances/new", for_visit(_new_page)),
        web.post("/instances/new", for_visit(_create)),
        web.get(one, for_visit(_overview)),
        web.get(f"{one}/p2p", for_visit(_switch_page)),
        web.post(f"{one}/p2p", for_visit(_switch)),
        web.get(f"{one}/settings", for_visit(_settings_page)),
        web.post(f"{one}/settings", for_visit(_settings)),
        web.post(f"{one}/delete", for_visit(_delete)),
        web.get(f"{one}/network", for_visit(_network_page)),
        web.post(f"{one}/network/link", for_visit(_link)),
        web.post(f"{one}/network/unlink", for_visit(_unlink)),
        web.post(f"{one}/network/endpoint", for_visit(_endpoint)),
    ]


async def _list_page(visit: Visit) -> web.StreamResponse:
    def load(connection: Connection) -> tuple[list[Instance], dict[str, int]]:
        running: dict[str, int] = {}
        for component in clusters.components(connection):
            running[component.instance_id] = running.get(component.instance_id, 0) + 1
        found = instances.find_all(connection, account=visit.account, region=visit.region or None)
        return found, running

    found, running = await visit.read(load)
    return page(visit, "instances.html", instances=found, running=running)


async def _new_page(visit: Visit) -> web.StreamResponse:
    visit.form.values.setdefault("region", visit.region)
    return page(visit, "instance_new.html", editions=list(Edition))


async def _create(visit: Visit) -> web.StreamResponse:
    form = visit.form
    name = form.take("name", fields.instance_name)
    region = form.take("region", fields.region)
    edition = form.take("edition", fields.edition)
    url = form.take("registry_url", fields.registry_url)
    if form.is_good:
        made: list[Instance] = []

        def make(change: Change) -> None:
            made.append(
                instances.make(
                    change,
                    visit.account,
                    name=name,
                    region=region,
                    edition=Edition(edition),
                    registry_url=url,
                )
            )

        if await visit.attempt(make, action="CreateInstance", resource=name):
            raise web.HTTPSeeOther(f"/console/instances/{made[0].id}")
    return await _new_page(visit)


async def _overview(visit: Visit) -> web.StreamResponse:
    id_ = visit.path_id
    now_s = visit.console.now_s

    def load(connection: Connection) -> dict[str, object]:
        instance = instances.find(connection, id_)
        found = clusters.components(connection, instance_id=id_)
        return {
            "instance": instance,
            "endpoints": instances.endpoints(connection, id_),
            "links": instances.links(connection, id_),
            "components": [(one, component_state(one, instance, now_s=now_s)) for one in found],
            "cluster_names": clusters.names(connection),
            "events": changes.events(connection, resource=id_, limit=8),
        }

    loaded = await visit.read(load)
    return page(visit, "instance.html", loaded, editions_with_p2p=EDITIONS_WITH_P2P)


async def _switch_page(visit: Visit) -> web.StreamResponse:
    id_ = visit.path_id

    def load(connection: Connection) -> dict[str, object]:
        found = clusters.components(connection, instance_id=id_)
        return {
            "instance": instances.find(connection, id_),
            "components": found,
            "cluster_names": clusters.names(connection),
            "breaks": what_forcing_breaks(found),
        }

    loaded = await visit.read(load)
    return page(
        visit,
        "instance_p2p.html",
        loaded,
        editions_with_p2p=EDITIONS_WITH_P2P,
        within_s=PASS_THROUGH_WITHIN_S,
    )


async def _switch(visit: Visit) -> web.StreamResponse:
    id_, form = visit.path_id, visit.form
    enable = form.values.get("enable") == "on"
    forced = form.ticked("force")
    if await visit.attempt(
        lambda change: instances.switch(
            change, id_, enable=enable, confirmed=form.ticked("confirmed"), forced=forced
        ),
        action="SetInstanceP2PAcceleration",
        resource=id_,
    ):
        raise web.HTTPSeeOther(f"/console/instances/{id_}")
    return await _switch_page(visit)


async def _settings_page(visit: Visit) -> web.StreamResponse:
    instance = await visit.read(lambda connection: instances.find(connection, visit.path_id))
    visit.form.values.setdefault("edition", instance.edition)
    visit.form.values.setdefault("registry_url", instance.registry_url)
    return page(visit, "instance_settings.html", instance=instance, edition_options=_EDITIONS)


async def _settings(visit: Visit) -> web.StreamResponse:
    id_, form = visit.path_id, visit.form
    edition = form.take("edition", fields.edition)
    url = form.take("registry_url", fields.registry_url)
    if form.is_good and await visit.attempt(
        lambda change: instances.edit(change, id_, edition=Edition(edition), registry_url=url),
        action="ModifyInstance",
        resource=id_,
    ):
        raise web.HTTPSeeOther(f"/console/instances/{id_}")
    return await _settings_page(visit)


async def _delete(visit: Visit) -> web.StreamResponse:
    id_ = visit.path_id
    instance = await visit.read(lambda connection: instances.find(connection, id_))
    if visit.form.values.get("typed_name", "").strip() != instance.name:
        visit.form.errors["typed_name"] = f"Type {instance.name} to delete it."
    elif await visit.attempt(
        lambda change: instances.remove(change, id_), action="DeleteInstance", resource=id_
    ):
        raise web.HTTPSeeOther("/console/instances")
    return await _settings_page(visit)


async def _network_page(visit: Visit) -> web.StreamResponse:
    id_ = visit.path_id

    def load(connection: Connection) -> dict[str, object]:
        return {
            "instance": instances.find(connection, id_),
            "endpoints": instances.endpoints(connection, id_),
            "links": instances.links(connection, id_),
            "known_vpcs": sorted({one.vpc_id for one in clusters.find_all(connection)}),
        }

    return page(visit, "instance_network.html", await visit.read(load))


async def _link(visit: Visit) -> web.StreamResponse:
    id_, form = visit.path_id, visit.form
    link = VpcLink(
        instance_id=id_,
        vpc_id=form.take("vpc_id", fields.vpc_id),
        vswitch_id=form.take("vswitch_id", fields.vswitch_id),
        ip=form.take("ip", fields.address),
        status=LinkStatus.RUNNING,
        default_access=form.ticked("default_access"),
    )
    return await _network_change(
        visit,
        lambda change: instances.add_link(change, link),
        action="CreateInstanceVpcEndpointLinkedVpc",
    )


async def _unlink(visit: Visit) -> web.StreamResponse:
    vpc_id = visit.form.take("unlink", fields.vpc_id)
    return await _network_change(
        visit,
        lambda change: instances.remove_link(change, visit.path_id, vpc_id),
        action="DeleteInstanceVpcEndpointLinkedVpc",
    )


async def _endpoint(visit: Visit) -> web.StreamResponse:
    form = visit.form
    kind = form.take("kind", fields.one_of(EndpointKind))
    if not kind:
        return await _network_page(visit)
    endpoint = Endpoint(
        instance_id=visit.path_id,
        kind=EndpointKind(kind),
        enabled=form.ticked("enabled"),
        acl_enabled=form.ticked("acl_enabled"),
        domains=tuple(form.take("domains", fields.domains).split()),
        acl=tuple(form.take("acl", fields.cidrs).split()),
    )
    return await _network_change(
        visit,
        lambda change: instances.put_endpoint(change, endpoint),
        action="UpdateInstanceEndpoint",
    )


async def _network_change(visit: Visit, work: _Work, *, action: str) -> web.StreamResponse:
    id_ = visit.path_id
    if visit.form.is_good and await visit.attempt(work, action=action, resource=id_):
        raise web.HTTPSeeOther(f"/console/instances/{id_}/network")
    return await _network_page(visit)
