"""Nodes that pull image after image by containerd, and readers of what their agents store."""

import hashlib
import threading
import time
from pathlib import Path
from random import Random

from shoal.testing.bed.cri import PullFailed
from shoal.testing.bed.fresh import Pushed
from shoal.testing.bed.node import FRONT_URL, Node
from shoal.testing.bed.processes import BedError
from shoal.testing.chaos.judge import HANG_S, Attempt, PullRecord, Read, Reading
from shoal.testing.chaos.stage import Stage

LOOK_S = 0.2
ATTEMPTS = 2
# kubelet's first back-off. Earlier, containerd's left-over ingest of wrong bytes would be taken up
# again, which its garbage collector removes.
BACK_OFF_S = 10.0
PULL_TIMEOUT_S = 60.0
CONTENT = "root/io.containerd.content.v1.content"
_CURL_TIMED_OUT = 28


class ProgressWatch:
    """Measures the longest time in which a node's containerd got nothing, while it pulled."""

    def __init__(self, node: Node) -> None:
        self._content = node.containerd.folder / CONTENT
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.longest_gap_s = 0.0

    def __enter__(self) -> "ProgressWatch":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()

    def _run(self) -> None:
        last, since_s = self._state(), time.monotonic()
        while not self._end.wait(LOOK_S):
            state, now_s = self._state(), time.monotonic()
            if state != last:
                last, since_s = state, now_s
            self.longest_gap_s = max(self.longest_gap_s, now_s - since_s)

    def _state(self) -> tuple[int, int]:
        blobs = self._content / "blobs" / "sha256"
        whole = sum(1 for _ in blobs.iterdir()) if blobs.is_dir() else 0
        return whole, sum(map(_size, (self._content / "ingest").glob("*/data")))


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:  # it has its final name meanwhile
        return 0


class Puller(threading.Thread):
    """One node: pulls every image that is pushed, reads a stored blob after each."""

    def __init__(
        self, stage: Stage, number: int, *, seed: int, began_s: float, stop: threading.Event
    ) -> None:
        super().__init__(name=f"puller n{number + 1}")
        self._stage = stage
        self._number = number
        self._node = stage.nodes[number]
        self._random = Random(f"{seed} {number}")  # noqa: S311 - repeatable on purpose
        self._began_s = began_s
        self._stopping = stop
        self._seen: set[str] = set()
        self.pulls: list[PullRecord] = []
        self.readings: list[Reading] = []
        self.error: BaseException | None = None

    def run(self) -> None:
        """Pull until told to stop."""
        try:
            while (pushed := self._next()) is not None:
                self._pull(pushed)
                if self.pulls[-1].attempts[-1].error == "":
                    self._read()
        except BaseException as error:
            self.error = error
            raise

    def _next(self) -> Pushed | None:
        with self._stage.changed:
            while not self._stopping.is_set():
                for pushed in self._stage.pushed:
                    if pushed.tag not in self._seen:
                        self._seen.add(pushed.tag)
                        return pushed
                self._stage.changed.wait(0.5)
        return None

    def _now_s(self) -> float:
        return time.monotonic() - self._began_s

    def _pull(self, pushed: Pushed) -> None:
        attempts: list[Attempt] = []
        while not attempts or (attempts[-1].error and len(attempts) < ATTEMPTS):
            if attempts:
                time.sleep(BACK_OFF_S)
            began_s, error = self._now_s(), ""
            with ProgressWatch(self._node) as watch:
                try:
                    self._node.cri.pull(pushed.reference(), timeout_s=PULL_TIMEOUT_S)
                except PullFailed as failed:
                    error = str(failed)
            attempts.append(Attempt(began_s, self._now_s(), error, watch.longest_gap_s))
        self.pulls.append(
            PullRecord(self._number, pushed.reference(), pushed.image.layer_bytes, tuple(attempts))
        )
        # The content goes with it, so that the disk of a long run does not fill.
        self._node.cri.remove(pushed.reference())

    def _read(self) -> None:
        """Read one layer of a recent image from this node's agent, and compare."""
        with self._stage.changed:
            pushed = self._random.choice(list(self._stage.pushed))
        layer = self._random.choice(pushed.image.layers)
        out = self._node.folder / "read"
        ns = pushed.registry.address().replace(":", "%3A")
        url = f"{FRONT_URL}/v2/{pushed.repository}/blobs/{layer.digest}?ns={ns}"
        command = ["curl", "-gsSf", "--noproxy", "*", "-o", str(out)]
        # Less than a byte a second for as long as nothing may hang.
        command += ["--speed-limit", "1", "--speed-time", f"{HANG_S:.0f}", url]
        try:
            done = self._node.run(*command, timeout_s=PULL_TIMEOUT_S, check=False)
            if done.returncode == 0:
                right = hashlib.sha256(out.read_bytes()).hexdigest() == layer.digest[7:]
                outcome = Read.RIGHT if right else Read.WRONG
            else:
                hung = done.returncode == _CURL_TIMED_OUT
                outcome = Read.HUNG if hung else Read.ENDED_EARLY
        except BedError:
            outcome = Read.HUNG
        self.readings.append(Reading(self._number, layer.digest, self._now_s(), outcome))
