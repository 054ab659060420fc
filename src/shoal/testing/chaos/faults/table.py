"""Which breaker stands behind each kind of fault."""

from collections.abc import Mapping

from shoal.testing.chaos.faults.agents import (
    DamageStore,
    FillDisk,
    JumpClock,
    KillAgent,
    KillAll,
    StopAgent,
)
from shoal.testing.chaos.faults.base import Breaker
from shoal.testing.chaos.faults.certificates import RotateCertificates
from shoal.testing.chaos.faults.links import CutLink, SlowLink
from shoal.testing.chaos.faults.registry import MODES, BadRegistry
from shoal.testing.chaos.faults.site import FlapMember, Liar
from shoal.testing.chaos.plan import FaultKind
from shoal.testing.chaos.stage import Stage


def breakers(stage: Stage) -> Mapping[FaultKind, Breaker]:
    """Return the breaker of every kind."""
    return {
        FaultKind.KILL_AGENT: KillAgent(stage),
        FaultKind.KILL_ALL: KillAll(stage),
        FaultKind.STOP_AGENT: StopAgent(stage),
        FaultKind.CUT_LINK: CutLink(stage),
        FaultKind.SLOW_LINK: SlowLink(stage),
        FaultKind.DAMAGE_STORE: DamageStore(stage),
        FaultKind.FILL_DISK: FillDisk(stage),
        FaultKind.JUMP_CLOCK: JumpClock(stage),
        **dict.fromkeys(MODES, BadRegistry(stage)),
        FaultKind.LIAR: Liar(stage),
        FaultKind.FLAP_MEMBER: FlapMember(stage),
        FaultKind.ROTATE_CERTIFICATES: RotateCertificates(stage),
    }
