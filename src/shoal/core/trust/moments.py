"""How much time has passed between two runs of an agent, though clocks are set forth and back.

| since the moment that was written down | what counts |
|---|---|
| the same boot of the machine | the greater of what the boot clock and the wall clock say |
| another boot | what the wall clock says |
| another boot, and the wall clock is earlier than then | nothing is known |

So a wall clock that is set back extends nothing, and one that is set forth only ends things early.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Moment:
    """A point in time by both clocks of a machine, in seconds.

    `boot_s` goes on while the machine sleeps and begins anew with each `boot_id`.
    """

    boot_id: str
    boot_s: float
    wall_s: float


def elapsed_s(then: Moment, now: Moment) -> float | None:
    """Return the seconds from `then` to `now`, rather too many than too few; None: nobody knows."""
    by_wall_s = now.wall_s - then.wall_s
    if now.boot_id == then.boot_id and now.boot_s >= then.boot_s:
        return max(now.boot_s - then.boot_s, by_wall_s)
    return by_wall_s if by_wall_s >= 0 else None
