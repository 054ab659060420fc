"""The rules of the P2P Acceleration switch, as the product's documentation states them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from shoal.core.console.models import Component, Edition, Instance, InstanceStatus
from shoal.core.errors import ShoalError

# Agents ask through their cluster's controller twice in this time, so one lost question is no harm.
PASS_THROUGH_WITHIN_S = 60
ASK_EVERY_S = 30
# A component that has said nothing for so long is shown as silent. It still counts as installed:
# its agents may be serving pulls without a way to this console.
SILENT_AFTER_S = 3 * 3600

EDITIONS_WITH_P2P = (Edition.STANDARD, Edition.ADVANCED)


class SwitchRefused(ShoalError):
    """The switch stays as it is; `code` is for programs, the message for people."""

    def __init__(self, message: str, *, code: str, clusters: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.code = code
        self.clusters = tuple(clusters)


class ComponentState(StrEnum):
    """What a cluster's component does now for one instance."""

    ACCELERATING = "accelerating"
    PASSING_THROUGH = "passing through"
    REINSTALL = "reinstall needed"
    SILENT = "silent"


@dataclass(frozen=True, slots=True)
class Switched:
    """The switch's new position."""

    enabled: bool
    generation: int


def switch_on(instance: Instance, *, confirmed: bool) -> Switched:
    """Return the switch turned on.

    Raises:
        SwitchRefused: the edition is too low, the instance is not running, or nobody confirmed.
    """
    if instance.edition not in EDITIONS_WITH_P2P:
        raise SwitchRefused(
            f"{instance.name} ({instance.id}) is {instance.edition.label} edition. P2P "
            "Acceleration takes Standard or Advanced: upgrade the instance first.",
            code="EDITION_NOT_SUPPORTED",
        )
    if instance.status is not InstanceStatus.RUNNING:
        raise SwitchRefused(
            f"{instance.name} ({instance.id}) is {instance.status}. Wait until it is RUNNING.",
            code="INSTANCE_NOT_RUNNING",
        )
    if instance.p2p_enabled:
        return Switched(enabled=True, generation=instance.p2p_generation)
    if not confirmed:
        raise SwitchRefused(
            "Switching P2P Acceleration on has to be confirmed.", code="CONFIRMATION_REQUIRED"
        )
    return Switched(enabled=True, generation=instance.p2p_generation + 1)


def switch_off(
    instance: Instance,
    components: Sequence[Component],
    cluster_names: Mapping[str, str],
    *,
    confirmed: bool,
    forced: bool = False,
) -> Switched:
    """Return the switch turned off.

    Args:
        instance: Whose switch.
        components: The instance's components that were not uninstalled.
        cluster_names: Names of clusters by id, for the message.
        confirmed: Whether someone has said yes to the warning.
        forced: Whether to switch off although clusters still run the component.

    Raises:
        SwitchRefused: Clusters still run the component (they are named), or nobody confirmed.
    """
    if not instance.p2p_enabled:
        return Switched(enabled=False, generation=instance.p2p_generation)
    ids = sorted({component.cluster_id for component in components})
    if ids and not forced:
        named = ", ".join(f"{cluster_names.get(id_, id_)} ({id_})" for id_ in ids)
        raise SwitchRefused(
            f"The P2P component is still installed in {named}. Uninstall it there first: "
            "helm uninstall ack-acr-acceleration-p2p -n aliyun-acr-acceleration",
            code="COMPONENT_STILL_INSTALLED",
            clusters=ids,
        )
    if not confirmed:
        raise SwitchRefused(
            "Switching P2P Acceleration off has to be confirmed.", code="CONFIRMATION_REQUIRED"
        )
    return Switched(enabled=False, generation=instance.p2p_generation)


def what_forcing_breaks(components: Sequence[Component]) -> tuple[str, ...]:
    """Return, one sentence each, what happens if the switch is forced off now."""
    clusters = len({component.cluster_id for component in components})
    where = "1 cluster" if clusters == 1 else f"{clusters} clusters"
    return (
        f"Agents in {where} stop sharing within {PASS_THROUGH_WITHIN_S} s of hearing of it, and "
        "pass every pull through to the registry: expect its full traffic.",
        "Pulls that are under way go on from the registry; none fails because of this.",
        "A cluster that cannot reach this console keeps accelerating until it can.",
        "After P2P Acceleration is switched on again, every one of these clusters passes through "
        "until its component is reinstalled.",
    )


def component_state(component: Component, instance: Instance, *, now_s: int) -> ComponentState:
    """Return what `component` does for `instance` at `now_s`, as far as the console knows."""
    if not instance.p2p_enabled:
        return ComponentState.PASSING_THROUGH
    if component.p2p_generation != instance.p2p_generation:
        return ComponentState.REINSTALL
    if now_s - component.reported_at > SILENT_AFTER_S:
        return ComponentState.SILENT
    return ComponentState.ACCELERATING


def may_accelerate(instance: Instance, component: Component | None) -> bool:
    """Return what a cluster is told when it asks whether its agents may share.

    A cluster without a component on record, as during its first installation, goes by the
    instance's switch alone.
    """
    if not instance.p2p_enabled:
        return False
    return component is None or component.p2p_generation == instance.p2p_generation
