"""Puts the agent before a registry in containerd's certs.d, and takes it away without a trace."""

# The states of a registry's hosts.toml and what each command does with them:
#
#   file          marker  edited since   install                        remove
#   none          -       -              makes file (and folders)       nothing to do
#   admin's       no      -              keeps it as backup, prepends   nothing to do
#   ours/admin's  yes     no             rewrites if anything differs   restores the backup, or
#                                                                       removes what was made
#   ours/admin's  yes     yes            what is not ours becomes the   takes out the entry only
#                                        backup, then as "admin's"
#
# A backup beside a file without a marker is left from a crash or from a file that somebody has
# replaced since: what they put there counts, the backup does not.

import os
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from shoal.adapters.runtime import atomic_files, hosts_toml
from shoal.adapters.runtime.carried_settings import (
    HOSTS_FILE,
    carried_text,
    folder_in_force,
    new_text,
    read_hosts,
)
from shoal.adapters.runtime.hosts_toml import AgentEntry, ManagedText, Ownership
from shoal.adapters.runtime.registry_name import DEFAULT, RegistryName
from shoal.core.errors import SettingsError


class Action(StrEnum):
    """What a command did, or would do, to one registry's hosts.toml."""

    UNCHANGED = "unchanged"
    CREATED = "created"
    PREPENDED = "prepended"
    REWRITTEN = "rewritten"
    REMOVED = "removed"
    RESTORED = "restored"
    ENTRY_REMOVED = "entry-removed"  # the administrator's edits stay
    ABSENT = "absent"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What happened to one registry's hosts.toml, and what the operator should know of it."""

    registry: RegistryName
    path: Path
    action: Action
    note: str = ""


@dataclass(frozen=True, slots=True)
class HostsStatus:
    """How one registry's hosts.toml stands."""

    registry: RegistryName
    path: Path
    agent_url: str | None  # of Shoal's entry; None if there is none
    comes_first: bool
    shadowed_by: Path | None = None  # the folder that containerd reads instead


@dataclass(frozen=True, slots=True)
class _Plan:
    """One registry's change, made before anything is written, so that all or none are written."""

    registry: RegistryName
    path: Path
    action: Action
    text: str = ""
    secret: bool = False
    made_file: bool = False
    adopt: str | None = None  # what an edited file holds beside our entry: the new original
    stale_backup: bool = False


class ContainerdHosts:
    """The hosts.toml files below one certs.d."""

    def __init__(self, certs_d: Path, *, roots: Sequence[Path] = ()) -> None:
        """Look after `certs_d`.

        Args:
            certs_d: the folder of registry folders.
            roots: all folders of containerd's `config_path`, in order, if they are known.
        """
        self._certs_d = certs_d
        self._roots = tuple(roots) if certs_d in roots else (certs_d, *roots)

    def install(
        self,
        registries: Iterable[RegistryName],
        entry: AgentEntry,
        *,
        plain_http: bool = False,
        server: str | None = None,
    ) -> list[Outcome]:
        """Put `entry` first for each of `registries`. A second run changes nothing.

        Args:
            registries: which.
            entry: what goes first.
            plain_http: they speak plain HTTP.
            server: URL of what is asked after the agent, where nobody has said so in a file; None:
                each registry itself.

        Raises:
            SettingsError: an administrator's file cannot be read as TOML, or not be put before;
                nothing was changed for any registry.
            ShoalError: a file cannot be written; the message names it.
        """
        with self._lock():
            plans = [
                self._plan(name, entry, server=server or name.server(plain_http=plain_http))
                for name in registries
            ]
            return [self._apply(plan) for plan in plans]

    def remove(self, registries: Iterable[RegistryName] | None = None) -> list[Outcome]:
        """Take Shoal's entry away from each of `registries`, or wherever there is one.

        Raises:
            ShoalError: a file cannot be read or written; the message names it.
        """
        with self._lock():
            self._clear_leftovers()
            names = self.managed() if registries is None else list(registries)
            return [outcome for name in names for outcome in self._remove(name)]

    def managed(self) -> list[RegistryName]:
        """Return the registries for which Shoal's entry, or a backup, is below certs.d.

        Raises:
            ShoalError: a folder cannot be read.
        """
        if not self._certs_d.is_dir():
            return []
        with atomic_files.naming(self._certs_d):
            folders = sorted(path for path in self._certs_d.iterdir() if path.is_dir())
        found = []
        for folder in folders:
            if self._is_ours(folder / HOSTS_FILE):
                name = _registry_of(folder.name)
                if name not in found:
                    found.append(name)
        return found

    def status(self, registry: RegistryName) -> HostsStatus:
        """Tell how `registry` stands.

        Raises:
            SettingsError: its hosts.toml is not TOML.
            ShoalError: its hosts.toml cannot be read.
        """
        path = self._path(registry)
        text = read_hosts(path)
        ours = None if text is None else hosts_toml.managed(text)
        in_force = folder_in_force(registry, roots=self._roots)
        if text is None or ours is None or ours.agent_url is None:
            if text is not None:
                hosts_toml.parse(text, path=str(path))
            return HostsStatus(registry, path, None, False)
        return HostsStatus(
            registry,
            path,
            ours.agent_url,
            hosts_toml.comes_first(text, url=ours.agent_url, path=str(path)),
            shadowed_by=None if in_force == path.parent else in_force,
        )

    def _clear_leftovers(self) -> None:
        """Take away what a command that was killed left half made."""
        if self._certs_d.parent.is_dir():
            atomic_files.clear_leftovers(self._certs_d.parent, of=self._certs_d.name)
        if self._certs_d.is_dir():
            atomic_files.clear_leftovers(self._certs_d)
            for folder in self._certs_d.iterdir():
                if folder.is_dir() and not folder.is_symlink():
                    atomic_files.clear_leftovers(folder)

    def _lock(self) -> AbstractContextManager[None]:
        # Not certs.d itself, which may be made or removed while the lock is held.
        return atomic_files.only_one(self._certs_d.parent)

    def _path(self, registry: RegistryName) -> Path:
        names = registry.folder_names()
        # Without a folder the last name is taken, host:port, which is what people expect to see.
        name = next((name for name in names if (self._certs_d / name).exists()), names[-1])
        return self._certs_d / name / HOSTS_FILE

    def _managed_at(self, path: Path) -> ManagedText | None:
        """Return Shoal's part of the file; a file that is not even text has none."""
        try:
            text = read_hosts(path)
        except SettingsError:
            return None
        return None if text is None else hosts_toml.managed(text)

    def _plan(self, registry: RegistryName, entry: AgentEntry, *, server: str | None) -> _Plan:
        path = self._path(registry)
        backup = atomic_files.backup_of(path)
        text = read_hosts(path)
        ours = None if text is None else hosts_toml.managed(text)
        secret = bool(entry.headers)
        if ours is not None and text is not None and not ours.untouched:
            return self._plan_edited(registry, path, text, ours, entry)
        if ours is None:
            exists = os.path.lexists(path)
            ownership = Ownership(not exists, self._missing_folders(path.parent))
        else:
            exists = not ours.ownership.made_file
            ownership = ours.ownership
        original = read_hosts(backup if ours is not None else path) if exists else None
        if ours is not None and exists and not os.path.lexists(backup):
            original = ours.without_entry  # somebody took the backup away
        if original is None:
            original = self._text_in_force(registry, path.parent, ownership, server=server)
        wanted = hosts_toml.with_entry(original, entry, ownership=ownership, path=str(path))
        if ours is None:
            action = Action.PREPENDED if exists else Action.CREATED
        elif wanted != text:
            action = Action.REWRITTEN
        else:
            action = Action.UNCHANGED
        stale = ours is None and os.path.lexists(backup)
        return _Plan(
            registry, path, action, wanted, secret, ownership.made_file, stale_backup=stale
        )

    def _plan_edited(
        self,
        registry: RegistryName,
        path: Path,
        text: str,
        ours: ManagedText,
        entry: AgentEntry,
    ) -> _Plan:
        rest = ours.without_entry
        # The file stays even if we made it: somebody has put work into it.
        ownership = Ownership(False, 0)
        wanted = hosts_toml.with_entry(rest, entry, ownership=ownership, path=str(path))
        if ours.agent_url == entry.url and _same_hosts(text, wanted, path=path):
            return _Plan(registry, path, Action.UNCHANGED)
        return _Plan(registry, path, Action.REWRITTEN, wanted, bool(entry.headers), adopt=rest)

    def _text_in_force(
        self, registry: RegistryName, folder: Path, ownership: Ownership, *, server: str | None
    ) -> str:
        ignoring = frozenset({folder}) if ownership.made_folders else frozenset()
        source = folder_in_force(registry, roots=self._roots, ignoring=ignoring)
        if source is None:
            return new_text(server)
        return carried_text(source, into=folder, server=server)

    def _missing_folders(self, folder: Path) -> int:
        """Count the folders to make for `folder`, those included that were made for its siblings.

        Whichever registry is removed last has to take the folders above with it.
        """
        if folder.exists():
            return 0
        missing = 1
        above = folder.parent
        while not above.exists():
            missing += 1
            above = above.parent
        siblings = self._certs_d.glob(f"*/{HOSTS_FILE}") if self._certs_d.is_dir() else ()
        counts = [
            ours.ownership.made_folders
            for path in siblings
            if (ours := self._managed_at(path)) is not None
        ]
        return max([missing, *counts])

    def _apply(self, plan: _Plan) -> Outcome:
        path = plan.path
        backup = atomic_files.backup_of(path)
        if plan.action is Action.UNCHANGED:
            return Outcome(plan.registry, path, plan.action)
        if not path.parent.exists():
            atomic_files.create(path, plan.text.encode(), secret=plan.secret)
            return Outcome(plan.registry, path, plan.action)
        note = ""
        if plan.adopt is not None:
            self._adopt(path, plan.adopt)
            note = f"the file was edited since: without Shoal's entry it is kept as {backup}"
        elif plan.action is Action.PREPENDED:
            atomic_files.keep_original(path)
            note = f"the original is kept as {backup}"
        elif plan.stale_backup:
            atomic_files.remove_file(backup)
        # The mode of a file of our own may still be that of one with a secret in it.
        candidates = () if plan.made_file else (backup, path)
        like = next((it for it in candidates if it.exists()), None)
        atomic_files.replace(path, plan.text.encode(), like=like, secret=plan.secret)
        return Outcome(plan.registry, path, plan.action, note)

    def _adopt(self, path: Path, rest: str) -> None:
        """Make `rest` the original that `remove` will restore, as old as the file it comes from."""
        backup = atomic_files.backup_of(path)
        was = path.stat()
        atomic_files.replace(backup, rest.encode(), like=backup if backup.exists() else path)
        with atomic_files.naming(backup):
            os.utime(backup, ns=(was.st_atime_ns, was.st_mtime_ns))

    def _remove(self, registry: RegistryName) -> list[Outcome]:
        # Both spellings of a port: a folder made after ours may have changed which one is read.
        paths = [self._certs_d / name / HOSTS_FILE for name in registry.folder_names()]
        ours = [path for path in paths if self._is_ours(path)]
        if not ours:
            return [Outcome(registry, self._path(registry), Action.ABSENT)]
        return [self._remove_at(registry, path) for path in ours]

    def _is_ours(self, path: Path) -> bool:
        return self._managed_at(path) is not None or os.path.lexists(atomic_files.backup_of(path))

    def _remove_at(self, registry: RegistryName, path: Path) -> Outcome:
        backup = atomic_files.backup_of(path)
        ours = self._managed_at(path)
        if ours is None:
            return self._remove_backup(registry, path)
        if not ours.untouched:
            like = backup if backup.exists() else path
            atomic_files.replace(path, ours.without_entry.encode(), like=like)
            atomic_files.remove_file(backup)
            note = "the file was edited since Shoal wrote it: only Shoal's entry was taken out"
            return Outcome(registry, path, Action.ENTRY_REMOVED, note)
        if ours.ownership.made_file:
            atomic_files.remove_made(path, levels=ours.ownership.made_folders)
            return Outcome(registry, path, Action.REMOVED)
        if os.path.lexists(backup):
            atomic_files.restore_original(path)
            return Outcome(registry, path, Action.RESTORED)
        atomic_files.replace(path, ours.without_entry.encode(), like=path)
        note = f"the backup {backup} is gone: only Shoal's entry was taken out"
        return Outcome(registry, path, Action.ENTRY_REMOVED, note)

    def _remove_backup(self, registry: RegistryName, path: Path) -> Outcome:
        backup = atomic_files.backup_of(path)
        if not os.path.lexists(path):
            atomic_files.restore_original(path)
            note = "the file was gone: it is again what it was before Shoal"
            return Outcome(registry, path, Action.RESTORED, note)
        atomic_files.remove_file(backup)
        note = "somebody has replaced the file since: it was left alone, Shoal's backup is gone"
        return Outcome(registry, path, Action.ABSENT, note)


def _same_hosts(text: str, wanted: str, *, path: Path) -> bool:
    """Tell whether two texts mean the same to containerd, in the same order of hosts."""
    left = hosts_toml.parse(text, path=str(path))
    right = hosts_toml.parse(wanted, path=str(path))
    return left == right and list(left.get("host", {})) == list(right.get("host", {}))


def _registry_of(folder_name: str) -> RegistryName:
    """Return the registry whose folder this is: `host_port_` is another spelling of host:port."""
    if folder_name != DEFAULT and folder_name.endswith("_"):
        host, _, port = folder_name[:-1].rpartition("_")
        if host and port.isdecimal():
            return RegistryName(f"{host}:{port}")
    return RegistryName(folder_name)
