"""A swarm that writes down what it is told and what it orders, to be replayed: see core/trace.py.

For tests and reports of faults. Each line is written at once, so that a killed agent's trace is
whole but for its last line; an agent that runs without a trace has nothing of all this.
"""

import logging
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import IO

from shoal.core.errors import SettingsError
from shoal.core.peer import PeerId
from shoal.core.swarm import effects as do
from shoal.core.swarm import events as on
from shoal.core.swarm.policy import Policy
from shoal.core.swarm.swarm import Swarm
from shoal.core.trace import Begin, write_begin, write_step

_log = logging.getLogger("shoal.agent.traced_swarm")

MAX_TRACE_BYTES = 1 << 30  # a rollout of some GB writes a few MB; this is for who forgets it is on


class TracedSwarm(Swarm):
    """A `Swarm` with a trace."""

    def __init__(self, begin: Begin, trace: IO[bytes]) -> None:
        super().__init__(me=begin.me, rng=Random(begin.seed), policy=begin.policy)  # noqa: S311
        self._trace = trace
        self._left_bytes = MAX_TRACE_BYTES
        self._ended = False
        self._write(write_begin(begin))

    def handle(self, event: on.Event, *, now_s: float) -> list[do.Effect]:
        """Do as `Swarm.handle`, and write it down."""
        effects = super().handle(event, now_s=now_s)
        if not self._ended:
            self._write(write_step(event, effects, now_s=now_s))
        return effects

    def _write(self, text: str) -> None:
        line = f"{text}\n".encode()
        if len(line) > self._left_bytes:
            _log.warning("trace_ended", extra={"reason": "it reached its greatest length"})
            self._ended = True
            return
        self._left_bytes -= len(line)
        try:
            self._trace.write(line)
        except OSError as error:  # a full disk, say: the node matters more than its trace
            _log.warning("trace_ended", extra={"reason": str(error)})
            self._ended = True


@contextmanager
def traced_swarm(folder: Path, *, me: PeerId, policy: Policy) -> Iterator[TracedSwarm]:
    """Give a swarm that writes to a new file in `folder`, named after this process.

    Raises:
        SettingsError: the file cannot be made.
    """
    path = folder / f"swarm-{os.getpid()}-{secrets.token_hex(3)}.trace"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        trace = path.open("xb", buffering=0)
    except OSError as error:
        raise SettingsError(f"swarm.trace_dir: {path} cannot be written: {error}") from error
    with trace:
        _log.info("trace_begins", extra={"path": str(path)})
        yield TracedSwarm(Begin(me, secrets.randbits(64), policy), trace)
