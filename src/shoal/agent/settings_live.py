"""Which settings change while the agent runs, when it reads them again on SIGHUP.

The others are about what was made at the start: sockets that listen, the store's folder, this
node's name. A change of one of those is named in the log and waits for a restart.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from shoal.agent.settings import AgentSettings
from shoal.agent.settings_keys import all_keys

# Keys, or sections with all their keys.
LIVE = (
    "registries",
    "membership.static",
    "membership.dns",
    "membership.kubernetes",
    "membership.sites_file",
    "membership.dns_refresh_s",
    "membership.dns_timeout_s",
    "limits",
    "log.level",
)


def is_live(name: str) -> bool:
    """Return whether the setting `name`, as `limits.connections`, changes while the agent runs."""
    return any(name == live or name.startswith((f"{live}.", f"{live}[")) for live in LIVE)


@dataclass(frozen=True, slots=True)
class Change:
    """What differs between the settings in force and those that were read, key by key."""

    live: tuple[str, ...]
    """Keys whose new value is in `settings`."""

    waiting: tuple[str, ...]
    """Keys whose new value waits for a restart; `settings` has the old one."""

    settings: AgentSettings
    """What is to be in force."""


def change_between(before: AgentSettings, read: AgentSettings) -> Change:
    """Return what follows from having read `read` while `before` is in force."""
    live: list[str] = []
    waiting: list[str] = []
    updates: dict[str, Any] = {}
    for name, path in _paths():
        old, new = _value(before, path), _value(read, path)
        if old == new:
            continue
        if not is_live(name):
            waiting.append(name)
            continue
        live.append(name)
        if len(path) == 1:
            updates[path[0]] = new
        else:
            section, key = path
            changed = updates.get(section, getattr(before, section))
            updates[section] = changed.model_copy(update={key: new})
    return Change(tuple(live), tuple(waiting), before.model_copy(update=updates))


def _paths() -> Iterator[tuple[str, tuple[str, ...]]]:
    for name, key in all_keys().items():
        yield name, key.path


def _value(settings: AgentSettings, path: tuple[str, ...]) -> object:
    value: object = settings
    for part in path:
        value = getattr(value, part)
    return value
