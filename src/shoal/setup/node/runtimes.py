"""A node's container runtime, as the installer needs it: pointed at the agent, and back."""

from collections.abc import Sequence
from typing import Protocol

from shoal.adapters.runtime.containerd_check import Finding
from shoal.adapters.runtime.host_service import HostService
from shoal.setup.node.containerd import ContainerdNode
from shoal.setup.node.crio import CrioNode
from shoal.setup.node.told import RuntimePlace, RuntimeType, ServedName

# Major and minor version, as (1, 7).
Release = tuple[int, int]


class Runtime(Protocol):
    """One node's runtime; its files are read at every pull, or at its start."""

    def apply(
        self, names: Sequence[ServedName], *, front_url: str, release: Release | None
    ) -> list[Finding]:
        """Have `names` asked of the agent first, and no others; a second call changes nothing.

        Args:
            names: the registries that the agent serves.
            front_url: of the agent.
            release: the runtime's own, if it is known.

        Returns:
            What was found, good and bad. A file that cannot be written is a finding too.
        """
        ...

    def remove(self) -> list[Finding]:
        """Leave every file as it was before the first `apply`; tell what could not be."""
        ...


def runtime_at(place: RuntimePlace) -> Runtime:
    """Return the runtime at a place."""
    match place.type:
        case RuntimeType.CONTAINERD:
            service = HostService("containerd") if place.may_restart else None
            return ContainerdNode(place.folder, service=service)
        case RuntimeType.K3S:
            return ContainerdNode(place.folder)  # it writes config.toml, with config_path, itself
        case RuntimeType.CRIO:
            return CrioNode(
                place.folder, service=HostService("crio") if place.may_restart else None
            )
