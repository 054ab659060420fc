"""Reads from containerd's own configuration where its registry settings are."""

import re
import subprocess
from dataclasses import dataclass
from glob import glob
from pathlib import Path
from typing import Any

from shoal.adapters.runtime import hosts_toml
from shoal.adapters.runtime.atomic_files import naming

# Where the registry settings stand, by version of the configuration file.
# Source: containerd docs/cri/registry.md and docs/cri/config.md.
_PLUGIN = {
    1: "cri",
    2: "io.containerd.grpc.v1.cri",
    3: "io.containerd.cri.v1.images",
}
LATEST_VERSION = 3

# What containerd 2.2 and later use where nothing is set (internal/cri/config/config_unix.go).
BUILT_IN_CONFIG_PATH = "/etc/containerd/certs.d:/etc/docker/certs.d"
_BUILT_IN_SINCE = (2, 2)

MAX_FILES = 64  # imports of imports; more is a mistake
_MAX_FILE_BYTES = 4 * 1024 * 1024
_VERSION = re.compile(r"\bv?(\d{1,4})\.(\d{1,4})\.")
_ASK_VERSION_TIMEOUT_S = 5.0


@dataclass(frozen=True, slots=True)
class ContainerdConfig:
    """What containerd's configuration says of registries.

    `config_path` is empty where nothing sets it. `conflicts` are settings with which containerd
    refuses a `config_path`; `misplaced` are headings under which a `config_path` stands that this
    version of the file does not read.
    """

    path: Path
    exists: bool
    version: int
    config_path: tuple[Path, ...] = ()
    set_in: Path | None = None
    conflicts: tuple[str, ...] = ()
    misplaced: tuple[str, ...] = ()

    @property
    def heading(self) -> str:
        """The table in which `config_path` belongs."""
        return f'plugins."{_PLUGIN[self.version]}".registry'

    def snippet(self, certs_d: Path) -> str:
        """Return what to add to the configuration so that containerd reads `certs_d`."""
        first = "" if self.exists else f"version = {self.version}\n\n"
        return f'{first}[{self.heading}]\n  config_path = "{certs_d}"\n'


def read_config(path: Path, *, release: tuple[int, int] | None = None) -> ContainerdConfig:
    """Read containerd's configuration, its imports included.

    Args:
        path: the configuration file; one that is missing says nothing.
        release: containerd's own major and minor version, if known.

    Raises:
        SettingsError: a file is not TOML; the message names file and line.
        ShoalError: a file cannot be read.
    """
    built_in = release is not None and release >= _BUILT_IN_SINCE
    files = _load(path)
    if not files:
        version = LATEST_VERSION if release is None or release >= (2, 0) else 2
        roots = _roots(BUILT_IN_CONFIG_PATH) if built_in else ()
        return ContainerdConfig(path, False, version, roots)
    version = _version_of(files[0][1])
    registry, set_in = _merged_registry(files, version=version, release=release)
    config_path = registry.get("config_path")
    roots = _roots(config_path) if isinstance(config_path, str) else ()
    conflicts = _conflicts(registry)
    if not roots and not conflicts and built_in:
        roots = _roots(BUILT_IN_CONFIG_PATH)
    misplaced = tuple(
        f'plugins."{plugin}".registry'
        for other, plugin in _PLUGIN.items()
        if other != version
        and any("config_path" in _registry_table(tree, plugin) for _, tree in files)
    )
    return ContainerdConfig(path, True, version, roots, set_in, conflicts, misplaced)


def _load(path: Path) -> list[tuple[Path, dict[str, Any]]]:
    """Return the file and its imports, in the order in which containerd merges them.

    Source: containerd cmd/containerd/server/config/config.go, LoadConfig and resolveImports.
    """
    loaded: dict[Path, dict[str, Any]] = {}
    pending = [path]
    while pending and len(loaded) < MAX_FILES:
        current = pending.pop(0)
        if current in loaded:
            continue
        with naming(current):
            try:
                data = current.read_bytes()
            except FileNotFoundError:
                continue
        text = hosts_toml.decode(data, path=str(current), limit_bytes=_MAX_FILE_BYTES)
        tree = hosts_toml.parse(text, path=str(current))
        loaded[current] = tree
        imports = tree.get("imports", [])
        if not isinstance(imports, list):
            continue
        for pattern in imports:
            absolute = str(current.parent / str(pattern))
            # Path.glob takes no absolute pattern.
            found = sorted(glob(absolute)) if "*" in absolute else [absolute]  # noqa: PTH207
            pending += map(Path, found)
    return list(loaded.items())


def _version_of(tree: dict[str, Any]) -> int:
    version = tree.get("version", 1)
    return version if isinstance(version, int) and version in _PLUGIN else LATEST_VERSION


def _merged_registry(
    files: list[tuple[Path, dict[str, Any]]], *, version: int, release: tuple[int, int] | None
) -> tuple[dict[str, Any], Path | None]:
    """Return the registry table after all imports, and the file that sets its config_path.

    containerd 1.x lets an import replace the whole of a plugin's settings (services/server/config,
    mergeConfig); 2.x merges them key by key.
    """
    replaces = release < (2, 0) if release is not None else version < LATEST_VERSION
    merged: dict[str, Any] = {}
    set_in = None
    for path, tree in files:
        plugin = _PLUGIN[_version_of(tree)]
        if replaces and plugin in _table(tree, "plugins"):
            merged, set_in = {}, None
        registry = _registry_table(tree, plugin)
        merged.update(registry)
        if "config_path" in registry:
            set_in = path
    return merged, set_in


def _registry_table(tree: dict[str, Any], plugin: str) -> dict[str, Any]:
    return _table(_table(_table(tree, "plugins"), plugin), "registry")


def _table(tree: dict[str, Any], key: str) -> dict[str, Any]:
    value = tree.get(key)
    return value if isinstance(value, dict) else {}


def _roots(config_path: str) -> tuple[Path, ...]:
    return tuple(Path(part) for part in config_path.split(":") if part)


def _conflicts(registry: dict[str, Any]) -> tuple[str, ...]:
    """Name the settings that containerd refuses beside config_path.

    Source: containerd internal/cri/config/config.go, ValidateImageConfig.
    """
    found = []
    if _table(registry, "mirrors"):
        found.append("registry.mirrors")
    configs = _table(registry, "configs")
    if any(_table(configs, name).get("tls") is not None for name in configs):
        found.append("registry.configs.*.tls")
    return tuple(found)


def installed_release(containerd: str = "containerd") -> tuple[int, int] | None:
    """Return the major and minor version of containerd's program, or None if it cannot be told."""
    try:
        done = subprocess.run(
            [containerd, "--version"],
            capture_output=True,
            timeout=_ASK_VERSION_TIMEOUT_S,
            check=False,
            text=True,
            errors="replace",
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    found = _VERSION.search(done.stdout[:1024])
    return (int(found[1]), int(found[2])) if found else None
