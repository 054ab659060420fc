"""CRI-O's registries.conf.d: a file of ours, in which registries have the agent as first mirror.

The format is containers/image's (containers-registries.conf(5) and .d(5)); podman, buildah and
skopeo read it too. A later file replaces a whole `[[registry]]` of an earlier one with the same
prefix, so what was in force is carried into ours; the administrator's files are never touched.
"""

import os
import re
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import tomlkit

from shoal.adapters.runtime import atomic_files, hosts_toml
from shoal.core.errors import SettingsError, ShoalError

MAIN_FILE = "registries.conf"
FOLDER = "registries.conf.d"
# Files are read in the order of their names.
FILE = "zz-shoal.conf"
# No name ends in it that is read: only *.conf is.
EDITED_SUFFIX = ".edited"

_HEAD = (
    "# The agent of this node as first mirror. Shoal writes this file and takes it away again;\n"
    "# what you want changed belongs in another file of this folder.\n"
)
_STATE = re.compile(
    r"^# shoal state: made-folder=(?P<made>yes|no) sha256=(?P<sha256>[0-9a-f]{64})\n",
    re.ASCII | re.MULTILINE,
)
_NO_HASH = "0" * 64


@dataclass(frozen=True, slots=True)
class Mirrored:
    """A registry that is to be asked of the agent first."""

    prefix: str
    """Host, and port if any, of images."""
    location: str
    """What is asked after the mirrors; usually the prefix itself."""
    mirror: str
    """The agent's address, and what stands before repositories there."""
    insecure: bool = False
    """Whether `location` speaks plain HTTP."""


@dataclass(frozen=True, slots=True)
class Written:
    """What came of writing the file."""

    path: Path
    changed: bool
    refused: tuple[tuple[str, str], ...] = ()
    """Prefixes that the agent is not asked for, and why."""


class CrioRegistries:
    """The configuration of one node's containers/image, usually /etc/containers."""

    def __init__(self, folder: Path) -> None:
        """Look after `folder`."""
        self._folder = folder
        self.path = folder / FOLDER / FILE

    def install(self, registries: Sequence[Mirrored]) -> Written:
        """Write our file so that each of `registries` has the agent first.

        Raises:
            SettingsError: an administrator's file is not TOML, or of the first version, beside
                which mirrors cannot be written; nothing was changed.
            ShoalError: our file was changed by somebody, or cannot be written.
        """
        with atomic_files.only_one(self._folder):
            was = self._ours()
            if was is not None and not was.untouched:
                raise ShoalError(
                    f"{self.path} was changed since Shoal wrote it, and is left alone: move the "
                    "change into another file of that folder and delete this one"
                )
            before, after = self._others()
            refused: list[tuple[str, str]] = []
            tables: list[dict[str, Any]] = []
            for registry in registries:
                if (reason := _refusal(registry, before, after)) is not None:
                    refused.append((registry.prefix, reason))
                    continue
                tables.append(_table(registry, before.get(registry.prefix)))
            made_folder = was.made_folder if was else not self.path.parent.exists()
            text = _sealed(_text(tables), made_folder=made_folder)
            if was is not None and was.text == text:
                return Written(self.path, False, tuple(refused))
            atomic_files.create(self.path, text.encode())
            return Written(self.path, True, tuple(refused))

    def remove(self) -> str:
        """Take our file away; return what was done, as a sentence, empty if there was none.

        Raises:
            ShoalError: it cannot be taken away.
        """
        with atomic_files.only_one(self._folder):
            if self._folder.is_dir():
                atomic_files.clear_leftovers(self._folder, of=FOLDER)
            if self.path.parent.is_dir():
                atomic_files.clear_leftovers(self.path.parent, of=FILE)
            was = self._ours()
            if was is None:
                return ""
            if not was.untouched:
                kept = self.path.with_name(self.path.name + EDITED_SUFFIX)
                with atomic_files.naming(self.path):
                    self.path.rename(kept)
                return f"{self.path} had been changed: it is kept as {kept}, which nobody reads"
            atomic_files.remove_made(self.path, levels=1 if was.made_folder else 0)
            return f"removed {self.path}"

    def _ours(self) -> "_Ours | None":
        with atomic_files.naming(self.path):
            try:
                data = self.path.read_bytes()
            except FileNotFoundError:
                return None
        text = data.decode(errors="replace")
        state = _STATE.search(text)
        if state is None:
            return _Ours(text, untouched=False, made_folder=False)
        unsealed = text.replace(state["sha256"], _NO_HASH, 1)
        return _Ours(text, _hash(unsealed) == state["sha256"], state["made"] == "yes")

    def _others(self) -> tuple[dict[str, dict[str, Any]], dict[str, Path]]:
        """Return the registries in force before our file, and the files of those after it."""
        folder = self._folder / FOLDER
        with atomic_files.naming(folder):
            names = sorted(os.listdir(folder)) if folder.is_dir() else []  # noqa: PTH208
        drop_ins = [folder / name for name in names if name.endswith(".conf") and name != FILE]
        before: dict[str, dict[str, Any]] = {}
        after: dict[str, Path] = {}
        for path in [self._folder / MAIN_FILE, *drop_ins]:
            for table in _registries(path):
                prefix = str(table.get("prefix") or table.get("location", ""))
                if path.parent == folder and path.name > FILE:
                    after[prefix] = path
                else:
                    before[prefix] = table
        return before, after


@dataclass(frozen=True, slots=True)
class _Ours:
    text: str
    untouched: bool
    made_folder: bool


def _registries(path: Path) -> list[dict[str, Any]]:
    with atomic_files.naming(path):
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            return []
    tree = hosts_toml.parse(hosts_toml.decode(data, path=str(path)), path=str(path))
    if isinstance(tree.get("registries"), dict) and tree["registries"]:
        raise SettingsError(
            f"{path} is of the first version ([registries.search]), beside which mirrors cannot be "
            "written: convert it to [[registry]] tables; nothing was changed"
        )
    tables = tree.get("registry", [])
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise SettingsError(f"{path}: `registry` is no list of tables; nothing was changed")
    return tables


def _refusal(
    registry: Mirrored, before: dict[str, dict[str, Any]], after: dict[str, Path]
) -> str | None:
    if registry.prefix in after:
        return f"{after[registry.prefix]} is read after Shoal's file and replaces what it says"
    if before.get(registry.prefix, {}).get("blocked") is True:
        return "the administrator has blocked it"
    return None


def _table(registry: Mirrored, was: dict[str, Any] | None) -> dict[str, Any]:
    """Return the registry's table: what was in force, with the agent before other mirrors."""
    agent = {"location": registry.mirror, "insecure": True}  # plain HTTP on loopback
    if was is None:
        table: dict[str, Any] = {"prefix": registry.prefix, "location": registry.location}
        if registry.insecure:
            table["insecure"] = True
        return {**table, "mirror": [agent]}
    mirrors = was.get("mirror", [])
    others = [it for it in mirrors if isinstance(it, dict)] if isinstance(mirrors, list) else []
    kept = {key: value for key, value in was.items() if key != "mirror"}
    return {"prefix": registry.prefix, **kept, "mirror": [agent, *others]}


def _text(tables: Sequence[dict[str, Any]]) -> str:
    return tomlkit.dumps({"registry": list(tables)}) if tables else ""


def _sealed(tables: str, *, made_folder: bool) -> str:
    made = "yes" if made_folder else "no"
    text = f"{_HEAD}# shoal state: made-folder={made} sha256={_NO_HASH}\n\n{tables}"
    tomllib.loads(text)  # what a parser refuses would stop every pull of the node
    return text.replace(_NO_HASH, _hash(text), 1)


def _hash(text: str) -> str:
    return sha256(text.encode()).hexdigest()
