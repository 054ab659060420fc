"""A node of a site that is too large for one tracker to hear all of it."""

from shoal.core.membership.placement import deputy_keys, ranked
from shoal.core.peer import PeerId
from shoal.core.swarm.policy import Policy
from shoal.testing.swarm_script import Script, blob

ME = PeerId("me")
OTHERS = tuple(PeerId(f"n{number:02}") for number in range(11))
MEMBERS = (ME, *OTHERS)
POLICY = Policy(heard_most=8)
SHARDS = 4  # 2 * 12 / 8 rounded up to a power of two


def _spec_apart() -> tuple[PeerId, tuple[PeerId, ...], str]:
    """Find a blob of which this node is nothing, and that has two deputies beside its tracker."""
    number = 0
    while True:
        name = f"blob {number}"
        tag = blob(pieces=8, name=name).tag
        tracker, successor, *_ = ranked(tag, MEMBERS)
        deputies = tuple(ranked(key, MEMBERS)[0] for key in deputy_keys(tag, ME, SHARDS))
        if len({ME, tracker, successor, *deputies}) == 5:
            return tracker, deputies, name
        number += 1


TRACKER, DEPUTIES, _NAME = _spec_apart()
SPEC = blob(pieces=8, name=_NAME)
TAG = SPEC.tag


def member(*connected: PeerId) -> Script:
    """A node that wants nothing yet, connected to those."""
    script = Script(*MEMBERS, policy=POLICY)
    script.connect(*connected)
    return script
