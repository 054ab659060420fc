"""What tests on the bed look at: who asked the registry for what, and pulls under way."""

import json
import signal
import subprocess
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path

from shoal.core.blob import BlobSpec
from shoal.core.digest import Digest
from shoal.core.membership.placement import ranked
from shoal.core.peer import PeerId
from shoal.testing.bed.agents import PEER_PORT
from shoal.testing.bed.bed import Bed
from shoal.testing.bed.cri import Auth, PullFailed
from shoal.testing.bed.fresh import Pushed
from shoal.testing.bed.node import FRONT_URL, Node
from shoal.testing.bed.processes import BedError
from shoal.testing.bed.registry import Registry
from shoal.testing.bed.traffic import Door
from shoal.testing.image_layout import Layer

# The `slow` fixture: shapes the link of a node, or of `reg`; None takes the shaping off.
Slow = Callable[[str, str | None], None]
# A link on which megabytes take seconds: also a test that others keep from running for a second
# still finds the pull in its middle.
SLOW = "30mbit"


def until(true: Callable[[], bool], *, timeout_s: float = 60.0) -> bool:
    """Wait for something to become true; say whether it did.

    What takes too long is better said by another bound: this one is for a busy machine.
    """
    give_up_s = time.monotonic() + timeout_s
    while not true():
        if time.monotonic() > give_up_s:
            return False
        time.sleep(0.02)
    return True


def layer_bytes_by(registry: Registry, pushed: Pushed, *, since: int = 0) -> dict[str, int]:
    """Return what the registry sent of an image's layers, by who asked: `shoal`, `containerd`."""
    registry.settle()
    layers = {layer.digest for layer in pushed.image.layers}
    sent: dict[str, int] = {}
    for request in registry.requests(since=since):
        if request.blob_digest in layers:
            who = request.user_agent.partition("/")[0]
            sent[who] = sent.get(who, 0) + request.body_bytes
    return sent


def sent_to_clients(node: Node) -> int:
    """Return the bytes of blobs that a node's agent has sent to clients of its node."""
    return int(node.agent.metrics().get('shoal_front_sent_bytes_total{route="blob"}', 0))


def spec_of(registry: Registry, layer: Layer, *, door: Door = Door.OPEN) -> BlobSpec:
    """Return what a swarm calls a layer."""
    return BlobSpec(registry.address(door), Digest.parse(layer.digest), layer.size_bytes)


def peer_id(node: Node) -> PeerId:
    """Return a node's name among its peers."""
    return PeerId(f"{node.host.ipv4}:{PEER_PORT}")


def by_rank(bed: Bed, layer: Layer) -> list[Node]:
    """Return the nodes with agents, in the order in which they track a layer: the tracker first."""
    nodes = {peer_id(node): node for node in bed.nodes if node.has_agent}
    return [nodes[peer] for peer in ranked(spec_of(bed.registry, layer).tag, nodes)]


def blob_url(pushed: Pushed, digest: str, *, door: Door = Door.OPEN) -> str:
    """Return where a node's own clients get a blob from its agent."""
    ns = pushed.registry.address(door).replace(":", "%3A")
    return f"{FRONT_URL}/v2/{pushed.repository}/blobs/{digest}?ns={ns}"


def sources(node: Node, digest: str) -> dict[str, int]:
    """Return where a node's agent says that a blob's bytes came from."""
    said = node.agent.fetch(f"{FRONT_URL}/shoal/transfers/{digest}")
    found: dict[str, int] = json.loads(said or "{}")
    return found


class Pull(ABC):
    """A pull of an image on a node, under way."""

    def __init__(self, node: Node, pushed: Pushed) -> None:
        self.node = node
        self._layers = pushed.image.layers
        self._error = ""
        self._began_s = time.monotonic()
        self._ended_s: float | None = None
        self._watch = threading.Thread(target=self._run)

    def _run(self) -> None:
        self._error = self._result()
        self._ended_s = time.monotonic()

    @abstractmethod
    def _result(self) -> str:
        """Wait for the end; return "" or how it failed."""

    @abstractmethod
    def hold(self) -> None:
        """Stop the client for a while."""

    @abstractmethod
    def go_on(self) -> None:
        """Let the client run again."""

    @property
    def received_bytes(self) -> int:
        """What containerd has of the content that it has not whole yet."""
        ingests = self.node.containerd.folder / "root/io.containerd.content.v1.content/ingest"
        return sum(_size(path) for path in ingests.glob("*/data"))

    def wait_for(self, size_bytes: int, *, timeout_s: float = 60.0) -> None:
        """Wait until containerd has got this much, and check that it has not got everything."""
        arrived = until(
            lambda: self.received_bytes >= size_bytes or self._ended_s is not None,
            timeout_s=timeout_s,
        )
        assert arrived, f"only {self.received_bytes} bytes came within {timeout_s:g} s"
        assert self._ended_s is None, f"it was over too soon: {self._error[-500:]}"

    def failed(self, *, timeout_s: float = 60.0) -> str:
        """Wait for the end; return what was said if it failed, "" if all layers are here.

        Raises:
            BedError: no end within `timeout_s`.
        """
        self._watch.join(timeout_s)
        if self._ended_s is None:
            raise BedError(f"{self.node.name}: the pull had no end within {timeout_s:g} s")
        if not self._error:
            # containerd takes nothing into its store whose digest it has not computed.
            assert all(self.node.containerd.has_content(layer.digest) for layer in self._layers)
        return self._error

    def seconds(self, *, timeout_s: float = 60.0) -> float:
        """Wait for the end, and check that it is a success; return how long the pull took."""
        assert self.failed(timeout_s=timeout_s) == ""
        assert self._ended_s is not None
        return self._ended_s - self._began_s


class Fetch(Pull):
    """`ctr content fetch`, in which ctr itself asks, and containerd only stores."""

    def __init__(self, node: Node, pushed: Pushed, *, door: Door = Door.OPEN) -> None:
        super().__init__(node, pushed)
        self._process = subprocess.Popen(
            node.containerd.fetch_command(pushed.reference(door)),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        self._watch.start()

    def _result(self) -> str:
        assert self._process.stdout is not None
        with self._process.stdout as output:
            said = output.read().decode(errors="replace")
        return said or "failed" if self._process.wait() != 0 else ""

    def hold(self) -> None:
        """Stop ctr for a while."""
        self._process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """Let ctr run again."""
        self._process.send_signal(signal.SIGCONT)


class CriPull(Pull):
    """The CRI's PullImage, as kubelet has it done: containerd asks, stores and unpacks."""

    def __init__(
        self, node: Node, pushed: Pushed, *, door: Door = Door.OPEN, auth: Auth | None = None
    ) -> None:
        super().__init__(node, pushed)
        self._reference = pushed.reference(door)
        self._auth = auth
        self._watch.start()

    def _result(self) -> str:
        try:
            self.node.cri.pull(self._reference, auth=self._auth)
        except PullFailed as error:
            return str(error)
        return ""

    def hold(self) -> None:
        """Stop containerd for a while."""
        self.node.containerd.service.signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """Let containerd run again."""
        self.node.containerd.service.signal(signal.SIGCONT)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:  # it has its final name meanwhile
        return 0


def end_all(pulls: Sequence[Pull], *, timeout_s: float = 60.0) -> None:
    """Wait for every pull, and check that each succeeded."""
    for pull in pulls:
        pull.seconds(timeout_s=timeout_s)
