"""A registry that misbehaves towards the agents."""

from collections.abc import Mapping

from shoal.testing.chaos.fault_proxy import Mode
from shoal.testing.chaos.plan import Fault, FaultKind
from shoal.testing.chaos.stage import Stage

MODES: Mapping[FaultKind, Mode] = {
    FaultKind.REGISTRY_429: Mode.STATUS_429,
    FaultKind.REGISTRY_500: Mode.STATUS_500,
    FaultKind.REGISTRY_503: Mode.STATUS_503,
    FaultKind.REGISTRY_HANGS: Mode.HANG,
    FaultKind.REGISTRY_TRUNCATES: Mode.TRUNCATE,
    FaultKind.REGISTRY_LIES: Mode.LIE,
}


class BadRegistry:
    """The fault proxy does what the kind of fault says."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage

    def begin(self, fault: Fault) -> None:
        """Misbehave, from the next request on."""
        self._stage.set_mode(MODES[fault.kind])

    def end(self, fault: Fault) -> None:
        """Behave."""
        self._stage.set_mode(Mode.PASS)
