"""Nodes in the states from which tests of the swarm begin."""

from shoal.core import bitmap
from shoal.core.peer import PeerId
from shoal.core.swarm import effects as do
from shoal.core.swarm import events as on
from shoal.core.swarm.events import REGISTRY, RegistryFault
from shoal.core.wire.messages import LeaseEnded, LeaseGranted, LeaseOutcome, Request
from shoal.testing.swarm_script import Script, blob_tracked_by, orders, said

A, B, C = (PeerId(name) for name in "abc")
SPEC = blob_tracked_by("a", "b", "me", pieces=8)
TAG = SPEC.tag
ALL = bitmap.full(8)
DONE, FAILED, DENIED, DECLINED = LeaseOutcome
FAULT = RegistryFault.FAILED


def connected() -> Script:
    """A node connected to a, which tracks, and to b; nothing is wanted yet."""
    script = Script("me", "a", "b")
    script.connect("a", "b")
    return script


def wanting(held: int = 0, *, policy_seed: int = 1) -> Script:
    script = Script("me", "a", "b", seed=policy_seed)
    script.connect("a", "b")
    script.tell(on.BlobWanted(SPEC, held))
    return script


def holding() -> Script:
    script = connected()
    script.tell(on.BlobStored(SPEC))
    return script


def requested(effects: list[do.Effect], *, to: str) -> list[int]:
    return [m.piece for m in said(effects, to=to) if isinstance(m, Request)]


def leased(first: int = 0, count: int = 2) -> Script:
    script = wanting()
    assert orders(script.hear("a", LeaseGranted(TAG, first, count))) == [
        do.FetchFromRegistry(TAG, first, count)
    ]
    return script


def endings(effects: list[do.Effect]) -> list[tuple[int, int, LeaseOutcome]]:
    return [(m.first, m.done, m.outcome) for m in said(effects) if isinstance(m, LeaseEnded)]


def piece(number: int, source: PeerId = REGISTRY) -> on.PieceStored:
    return on.PieceStored(TAG, number, source)
