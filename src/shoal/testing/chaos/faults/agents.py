"""Agents that are killed or stopped, their disks and their clocks."""

import contextlib
from pathlib import Path

from shoal.testing.bed.agents import Agent
from shoal.testing.chaos.plan import Fault
from shoal.testing.chaos.stage import Stage

FILLER = "filler"
_FILL_BYTES = 1 << 20
_DAMAGE_BYTES = 4096


class _OfAgent:
    """What the faults of agents share: whose agent it is."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage

    def _agent(self, fault: Fault) -> Agent:
        assert fault.node is not None
        return self._stage.nodes[fault.node].agent

    def end(self, fault: Fault) -> None:
        """Leave the rest to the agent's supervisor."""


class KillAgent(_OfAgent):
    """SIGKILL to the agent; its supervisor starts another."""

    def begin(self, fault: Fault) -> None:
        """Kill it."""
        self._agent(fault).kill_worker()


class KillAll(_OfAgent):
    """SIGKILL to agent and supervisor; who runs them starts them again later."""

    def begin(self, fault: Fault) -> None:
        """Kill both."""
        self._agent(fault).kill()

    def end(self, fault: Fault) -> None:
        """Start them."""
        agent = self._agent(fault)
        if not agent.service.running:
            agent.start(wait=False)


class StopAgent(_OfAgent):
    """SIGSTOP to the agent; its supervisor notices."""

    def begin(self, fault: Fault) -> None:
        """Stop it."""
        self._agent(fault).pause()


class DamageStore(_OfAgent):
    """A byte in the middle of a stored blob changes, as a failing disk or a careless hand does."""

    def begin(self, fault: Fault) -> None:
        """Damage one file, if there is one yet."""
        files = sorted(p for p in (self._agent(fault).store / "blobs").rglob("*") if p.is_file())
        if files:
            damage(self._stage.random.choice(files), share=self._stage.random.random())


def damage(path: Path, *, share: float) -> None:
    """Change one byte of a file, that far into it, 0 to 1."""
    with contextlib.suppress(FileNotFoundError), path.open("r+b") as file:  # evicted just now
        size_bytes = path.stat().st_size
        if size_bytes:
            file.seek(int(share * (size_bytes - 1)))
            byte = file.read(1)
            file.seek(-1, 1)
            file.write(bytes([byte[0] ^ 0xFF]))


class FillDisk(_OfAgent):
    """The disk of the store has no byte left."""

    def begin(self, fault: Fault) -> None:
        """Fill it to the last byte."""
        block = bytes(_FILL_BYTES)
        path = self._agent(fault).store / FILLER
        with path.open("wb", buffering=0) as file, contextlib.suppress(OSError):
            while file.write(block) == len(block):
                pass

    def end(self, fault: Fault) -> None:
        """Empty it again."""
        (self._agent(fault).store / FILLER).unlink(missing_ok=True)


class JumpClock(_OfAgent):
    """The wall clock that the agent sees jumps, and later jumps back."""

    def begin(self, fault: Fault) -> None:
        """Jump."""
        self._set(fault, fault.argument)

    def end(self, fault: Fault) -> None:
        """Jump back."""
        self._set(fault, "+0")

    def _set(self, fault: Fault, offset: str) -> None:
        assert fault.node is not None
        path = self._stage.clock_file(self._stage.nodes[fault.node])
        new = path.with_suffix(".new")
        new.write_text(f"{offset}\n")
        new.rename(path)
