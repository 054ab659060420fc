"""Certificates that are replaced while everybody uses them."""

from shoal.testing.chaos.plan import Fault
from shoal.testing.chaos.stage import Stage


class RotateCertificates:
    """A new authority takes the old one's place, as `shoal certs rotate` has it done.

    Both are trusted at the beginning, every node has a certificate of the new one at the end, and
    the old one is dropped when the next replacement begins.
    """

    def __init__(self, stage: Stage) -> None:
        self._stage = stage

    def begin(self, fault: Fault) -> None:
        """Trust both; and none before them any more."""
        cluster = self._stage.bed.cluster
        cluster.retired.clear()
        cluster.rotate()
        cluster.tell_all()

    def end(self, fault: Fault) -> None:
        """Give every node a certificate of the new one."""
        for node in self._stage.nodes:
            self._stage.bed.issue(node)
