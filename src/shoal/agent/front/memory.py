"""What the front remembers of what registries and their realms have said, and its clock."""

import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from shoal.core.errors import StoreError
from shoal.core.trust.access import AccessTable
from shoal.core.trust.moments import Moment
from shoal.core.trust.realms import Realms
from shoal.core.trust.sessions import Sessions
from shoal.core.trust.tags import TagMemory

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def boot_clock_s() -> float:
    """Return the seconds since the machine was started: nobody sets it, and it goes on in sleep."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def moment(boot_id_file: Path = _BOOT_ID) -> Moment:
    """Return what both clocks say now.

    Raises:
        StoreError: the kernel does not tell which boot this is.
    """
    try:
        boot_id = boot_id_file.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise StoreError(f"{boot_id_file} cannot be read: {error}") from error
    return Moment(boot_id, boot_clock_s(), datetime.now(UTC).timestamp())


@dataclass(frozen=True, slots=True)
class Memory:
    """What is remembered. All but `sessions` survives a restart: a token is asked for anew."""

    access: AccessTable = field(default_factory=AccessTable)
    tags: TagMemory = field(default_factory=TagMemory)
    realms: Realms = field(default_factory=Realms)
    sessions: Sessions = field(default_factory=Sessions)

    @classmethod
    def lasting(cls, *, trusted_for_s: float, grace_s: float) -> "Memory":
        """Return one that trusts a yes for so long, and keeps it as long for an outage."""
        return cls(
            access=AccessTable(trusted_for_s=trusted_for_s, grace_s=grace_s),
            realms=Realms(grace_s=max(grace_s, trusted_for_s)),
        )

    @property
    def changes(self) -> int:
        """Grows with whatever is worth writing down."""
        return self.access.changes + self.tags.changes + self.realms.changes
