"""Sets config_path in containerd's config.toml where nothing does, and takes it out again.

The file is changed in one place, between two marker comments, and only if a TOML parser reads the
result as "what was there, plus config_path". The original is kept beside it as the same file, so
that taking it out restores it exactly.
"""

import copy
import hashlib
import os
import re
import tomllib
from pathlib import Path
from typing import Any

from shoal.adapters.runtime import atomic_files, hosts_toml
from shoal.adapters.runtime.containerd_config import ContainerdConfig
from shoal.core.errors import SettingsError

_BEGIN = "# >>> shoal config_path: what stands here goes with Shoal"
_END = "# <<< shoal"
_WAS = "# >>> shoal was:"
_STATE = re.compile(
    r"^# >>> shoal state: made-file=(?P<made>yes|no) sha256=(?P<sha256>[0-9a-f]{64})\n",
    re.ASCII | re.MULTILINE,
)
_BLOCK = re.compile(
    rf"^{re.escape(_BEGIN)}\n(?P<inside>(?s:.*?))^{re.escape(_END)}(?:\n|\Z)", re.MULTILINE
)
_NO_HASH = "0" * 64
_REGISTRY_TABLE = re.compile(r"^[ \t]*\[[^\[\n]*registry[ \t]*\][^\n]*\n", re.MULTILINE)
_KEY = re.compile(r"^[ \t]*config_path[ \t]*=.*$", re.MULTILINE)


class ConfigPath:
    """The config_path of one config.toml."""

    def __init__(self, path: Path) -> None:
        """Look after the file at `path`."""
        self._path = path

    def install(self, config: ContainerdConfig, certs_d: Path) -> None:
        """Have containerd read `certs_d` from its next start on.

        Args:
            config: what the file says now, which is no config_path and nothing that forbids one.
            certs_d: the folder of registry folders.

        Raises:
            SettingsError: the file is not TOML, or written so that nothing can be put into it.
            ShoalError: it cannot be written.
        """
        with atomic_files.only_one(self._path.parent):
            exists = os.path.lexists(self._path)
            text = self._text() if exists else f"version = {config.version}\n"
            if _BLOCK.search(text):
                return  # somebody has emptied it again: that is their say
            wanted = _with_config_path(text, config, certs_d, made_file=not exists, at=self._path)
            if exists:
                atomic_files.keep_original(self._path)
                atomic_files.replace(self._path, wanted.encode(), like=self._path)
            else:
                atomic_files.create(self._path, wanted.encode())

    def remove(self) -> str:
        """Make the file what it was; return what was done, empty if nothing was ours.

        Raises:
            ShoalError: it cannot be changed.
        """
        folder, backup = self._path.parent, atomic_files.backup_of(self._path)
        if not folder.is_dir():
            return ""
        with atomic_files.only_one(folder):
            atomic_files.clear_leftovers(folder, of=self._path.name)
            text = self._text() if os.path.lexists(self._path) else ""
            block = _BLOCK.search(text)
            state = _STATE.search(block["inside"]) if block else None
            if block is None or state is None:
                # A backup without a change: from a crash, or somebody has replaced the file since.
                atomic_files.remove_file(backup)
                return ""
            if _hash(text.replace(state["sha256"], _NO_HASH, 1)) != state["sha256"]:
                like = backup if backup.exists() else self._path
                atomic_files.replace(self._path, _without(text, block).encode(), like=like)
                atomic_files.remove_file(backup)
                return f"took config_path out of {self._path}, which had been edited since"
            if state["made"] == "yes":
                atomic_files.remove_file(self._path)
                return f"removed {self._path}"
            if os.path.lexists(backup):
                atomic_files.restore_original(self._path)
            else:
                atomic_files.replace(self._path, _without(text, block).encode(), like=self._path)
            return f"restored {self._path}"

    def _text(self) -> str:
        with atomic_files.naming(self._path):
            data = self._path.read_bytes()
        return hosts_toml.decode(data, path=str(self._path), limit_bytes=4 * 1024 * 1024)


def _with_config_path(
    text: str, config: ContainerdConfig, certs_d: Path, *, made_file: bool, at: Path
) -> str:
    before = hosts_toml.parse(text, path=str(at))
    wanted = _set(before, config, str(certs_d))
    made = "yes" if made_file else "no"
    head = f"{_BEGIN}\n# >>> shoal state: made-file={made} sha256={_NO_HASH}\n"
    key = f'  config_path = "{certs_d}"\n'
    for candidate in _candidates(text, config, head=head, key=key):
        try:
            read = tomllib.loads(candidate)
        except tomllib.TOMLDecodeError:
            continue
        if read == wanted:
            return candidate.replace(_NO_HASH, _hash(candidate), 1)
    raise SettingsError(
        f"{at}: [{config.heading}] is written so that config_path cannot be put into it; set "
        f'config_path = "{certs_d}" there by hand'
    )


def _candidates(text: str, config: ContainerdConfig, *, head: str, key: str) -> list[str]:
    """Return the file with config_path in each place where it may belong."""
    ended = text if text.endswith("\n") or not text else f"{text}\n"
    found = []
    # `containerd config default` writes config_path = "".
    for match in _KEY.finditer(ended):
        block = f"{head}{_WAS}{match[0]}\n{key}{_END}"
        found.append(ended[: match.start()] + block + ended[match.end() :])
    found += [
        ended[: match.end()] + f"{head}{key}{_END}\n" + ended[match.end() :]
        for match in _REGISTRY_TABLE.finditer(ended)
    ]
    found.append(f"{ended}{head}[{config.heading}]\n{key}{_END}\n")
    return found


def _set(tree: dict[str, Any], config: ContainerdConfig, certs_d: str) -> dict[str, Any]:
    wanted = copy.deepcopy(tree)
    table = wanted
    # `plugins."NAME".registry`
    plugin = config.heading.split('"')[1]
    for name in ("plugins", plugin, "registry"):
        table = table.setdefault(name, {})
    table["config_path"] = certs_d
    return wanted


def _without(text: str, block: re.Match[str]) -> str:
    was = [
        line.removeprefix(_WAS) + "\n"
        for line in block["inside"].splitlines()
        if line.startswith(_WAS)
    ]
    return text[: block.start()] + "".join(was) + text[block.end() :]


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
