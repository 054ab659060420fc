"""Links of nodes that are cut or slow."""

from shoal.testing.chaos.plan import Fault
from shoal.testing.chaos.stage import RATE, Stage


class _OfLink:
    """What the faults of links share: whose link it is."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage

    def _name(self, fault: Fault) -> str:
        assert fault.node is not None
        return self._stage.nodes[fault.node].name


class CutLink(_OfLink):
    """Packets to and from a node vanish."""

    def begin(self, fault: Fault) -> None:
        """Cut."""
        self._stage.bed.network.cut(self._name(fault))

    def end(self, fault: Fault) -> None:
        """Mend."""
        self._stage.bed.network.mend(self._name(fault))


class SlowLink(_OfLink):
    """A node's link carries far less than it did."""

    def begin(self, fault: Fault) -> None:
        """Slow it down."""
        self._stage.bed.network.set_rate(self._name(fault), fault.argument)

    def end(self, fault: Fault) -> None:
        """Have it at its rate again."""
        self._stage.bed.network.set_rate(self._name(fault), RATE)
