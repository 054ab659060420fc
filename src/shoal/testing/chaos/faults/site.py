"""Members that lie, and members that come and go."""

import json
import signal
import sys

from shoal.testing.bed.agents import PEER_PORT
from shoal.testing.bed.processes import Service
from shoal.testing.chaos.plan import Fault
from shoal.testing.chaos.stage import Stage
from shoal.testing.cluster import settings_of


class Liar:
    """A member that has the newest image's largest layer, it says, and lies about it."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._service: Service | None = None

    def begin(self, fault: Fault) -> None:
        """Start it, if there is an image to lie about."""
        if not self._stage.pushed:
            return
        image = self._stage.pushed[-1].image
        layer = max(image.layers, key=lambda layer: layer.size_bytes)
        node = self._stage.liar_node
        config = node.folder / "liar.json"
        bed = self._stage.bed
        shown = settings_of(bed.cluster.issue("liar", [node.host.ipv4])) if bed.tls else None
        config.write_text(
            json.dumps(
                [
                    {
                        "me": f"{node.host.ipv4}:{PEER_PORT}",
                        "members": self._stage.members,
                        "registry": self._stage.bed.registry.address(),
                        "digest": layer.digest,
                        "blob": str(image.blob(layer.digest)),
                        "lie": fault.argument,
                        "tls": shown,
                    }
                ]
            )
        )
        command = [sys.executable, "-m", "shoal.testing.lying_peer", str(config)]
        self._service = Service("the liar", node.command(command), log=node.folder / "liar.log")
        self._service.start()

    def end(self, fault: Fault) -> None:
        """End it."""
        if self._service is not None:
            self._service.kill()
            self._service = None


class FlapMember:
    """The others are told that a member is gone, and later that it is back."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage

    def begin(self, fault: Fault) -> None:
        """Leave the member out."""
        assert fault.node is not None
        self._tell(without=self._stage.members[fault.node])

    def end(self, fault: Fault) -> None:
        """Have it back."""
        self._tell(without=None)

    def _tell(self, *, without: str | None) -> None:
        for node in self._stage.nodes:
            node.agent.configure(self._stage.settings(node, without=without))
            if node.agent.service.running:  # its supervisor passes the signal on
                node.agent.service.signal(signal.SIGHUP, group=False)
