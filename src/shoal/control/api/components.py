"""What clusters report: that they run the component of an instance, and that they do no more.

The action is ours: the cloud's console knows of components by itself. The policy of the component's
documentation is enough for it, which cannot name an action of ours.
"""

from collections.abc import Mapping

from shoal.control.api.actions import DONE, Action, Asked, invalid
from shoal.control.api.instances import instance_of
from shoal.control.store import clusters
from shoal.control.store.changes import Change
from shoal.control.store.records import NotFound
from shoal.core.console import fields
from shoal.core.console.chart_values import Method
from shoal.core.console.models import Cluster, Component, Instance
from shoal.core.console.switch import may_accelerate


async def report_component(asked: Asked) -> dict[str, object]:
    """Take in which cluster runs the component, and tell it whether its agents may share.

    The set-up Job says `Installed`, the controller repeats the report without it, and says
    `Uninstalled` at the end. A cluster that is not known yet is added.
    """
    instance = await instance_of(asked, "ReportP2PComponent", implied_by="GetInstanceVpcEndpoint")
    cluster_id = asked.checked("ClusterId", fields.cluster_id)
    version = asked.checked("ComponentVersion", fields.line)
    method = asked.text("Method")
    if method not in list(Method):
        raise invalid("Method", f"one of {', '.join(Method)}")
    installed = asked.flag("Installed", default=False)
    cluster = Cluster(
        id=cluster_id,
        account=asked.account,
        name=asked.checked("ClusterName", fields.kubernetes_name, default=cluster_id[:53]),
        region=asked.checked("ClusterRegion", fields.region, default=instance.region),
        vpc_id=asked.checked("ClusterVpcId", fields.optional(fields.vpc_id), default=""),
        edge=True,
        version=asked.checked("ClusterVersion", fields.version, default="0.0.0"),
        rrsa_enabled=method == Method.RRSA,
        rrsa_issuer="",
        created_at=asked.console.now_s,
    )
    if asked.flag("Uninstalled", default=False):
        await asked.console.change(
            asked.author, lambda change: _uninstall(change, cluster_id, instance.id)
        )
        return _share(instance, None)

    def report(change: Change) -> Component:
        component = Component(
            cluster_id=cluster_id,
            instance_id=instance.id,
            version=version,
            method=method,
            p2p_generation=instance.p2p_generation,
            installed_at=change.now_s,
            reported_at=change.now_s,
        )
        return clusters.report_from(change, cluster, component, installed=installed)

    return _share(instance, await asked.console.change(asked.author, report))


def _uninstall(change: Change, cluster_id: str, instance_id: str) -> None:
    try:
        clusters.uninstalled(change, cluster_id, instance_id, by_hand=False)
    except NotFound:
        change.is_routine()  # it is off the record already: said twice is said


def _share(instance: Instance, component: Component | None) -> dict[str, object]:
    return {
        **DONE,
        "InstanceId": instance.id,
        "Enable": may_accelerate(instance, component),
        "Generation": instance.p2p_generation,
    }


ACTIONS: Mapping[str, Action] = {"ReportP2PComponent": report_component}
