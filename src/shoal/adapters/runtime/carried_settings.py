"""What containerd uses for a registry today, as text for a new hosts.toml of its own.

containerd reads exactly one folder for a registry: the first that exists of its own names and
`_default`, in the first root of `config_path` that has one (pkg/cri, hostDirFromRoots). A folder
that Shoal makes therefore hides `_default` and every later root, and a hosts.toml hides the
certificate files beside it. What was in force before has to be carried into the new file.
"""

import os
from collections.abc import Sequence
from pathlib import Path

import tomlkit
from tomlkit.exceptions import TOMLKitError

from shoal.adapters.runtime import hosts_toml
from shoal.adapters.runtime.atomic_files import backup_of, naming
from shoal.adapters.runtime.registry_name import DEFAULT, RegistryName
from shoal.core.errors import SettingsError

HOSTS_FILE = "hosts.toml"


def folder_in_force(
    registry: RegistryName, *, roots: Sequence[Path], ignoring: frozenset[Path] = frozenset()
) -> Path | None:
    """Return the folder that containerd reads for `registry`, as if those in `ignoring` were gone.

    Args:
        registry: which registry.
        roots: the folders of `config_path`, in order.
        ignoring: folders that Shoal made, which the question is about.
    """
    for root in roots:
        names = registry.folder_names()
        for name in names if DEFAULT in names else (*names, DEFAULT):
            folder = root / name
            if folder.exists() and folder not in ignoring:
                return folder
    return None


def read_hosts(path: Path) -> str | None:
    """Return the text of a hosts.toml, or None if there is none or it is empty.

    containerd treats an empty file as a missing one.

    Raises:
        ShoalError: it cannot be read.
        SettingsError: it is not text.
    """
    with naming(path):
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            return None
    return hosts_toml.decode(data, path=str(path)) if data else None


def carried_text(folder: Path, *, into: Path, server: str | None) -> str:
    """Return the text for `into`/hosts.toml that keeps in force what `folder` says.

    Args:
        folder: the folder in force until now; may be `into` itself, which then holds certificates.
        into: the folder of the new file.
        server: what to write as `server` if `folder` has no say in that.

    Raises:
        SettingsError: a hosts.toml in `folder` is not TOML; the message names file and line.
        ShoalError: a file cannot be read.
    """
    path = folder / HOSTS_FILE
    text = None if folder == into else _administrators_text(path)
    if text is None:
        lines = _certificates(folder, into=into)
        if lines:
            lines.insert(0, f"# From the certificate files in {folder}, which this file hides.")
        return _with_server("\n".join(lines) + "\n" if lines else "", server)
    hosts_toml.parse(text, path=str(path))
    comment = f"# From {path}, which containerd does not read beside this file.\n"
    return comment + _with_server(_absolute(text, folder=folder), server)


def _administrators_text(path: Path) -> str | None:
    """Return what `path` held before Shoal, plus any edits since; None if that is nothing.

    Were it to depend on whether Shoal's entry is in `path` already, a second install would differ
    from the first.
    """
    text = read_hosts(path)
    ours = None if text is None else hosts_toml.managed(text)
    if ours is None:
        return text
    if not ours.untouched:
        return ours.without_entry
    if ours.ownership.made_file:
        return None
    backup = backup_of(path)
    return read_hosts(backup) if os.path.lexists(backup) else ours.without_entry


def new_text(server: str | None) -> str:
    """Return the text of a hosts.toml for a registry of which nobody had said anything."""
    return _with_server("", server)


def _with_server(text: str, server: str | None) -> str:
    if server is None or "server" in hosts_toml.parse(text, path=HOSTS_FILE):
        return text
    # A key before everything else is at the root of the document, whatever follows.
    return f'server = "{server}"\n{text}'


def _certificates(folder: Path, *, into: Path) -> list[str]:
    """Say in TOML what containerd reads from certificate files: *.crt, *.cert and *.key.

    Source: containerd core/remotes/docker/config/hosts.go, loadCertFiles.
    """
    with naming(folder):
        names = sorted(path.name for path in folder.iterdir() if not path.is_dir())

    def written(name: str) -> str:
        return name if folder == into else str(folder.absolute() / name)

    authorities = [written(name) for name in names if name.endswith(".crt")]
    pairs = []
    for name in names:
        if name.endswith(".cert"):
            key = name.removesuffix(".cert") + ".key"
            # A certificate without a key file holds its key itself.
            pairs.append([written(name), written(key if key in names else name)])
    document = tomlkit.document()
    if authorities:
        document["ca"] = authorities
    if pairs:
        document["client"] = pairs
    return tomlkit.dumps(document).splitlines()


def _absolute(text: str, *, folder: Path) -> str:
    """Return `text` with the paths in `ca` and `client`, relative to `folder`, made absolute."""
    try:
        document = tomlkit.parse(text)
    except TOMLKitError as exc:
        raise SettingsError(f"{folder / HOSTS_FILE}: {exc}; nothing was changed") from exc
    hosts = document.get("host", {})
    changed = False
    for table in [document, *(hosts.values() if isinstance(hosts, dict) else [])]:
        if not isinstance(table, dict):
            continue
        for key in ("ca", "client"):
            if key in table:
                absolute = _absolute_value(table[key], folder=folder)
                if absolute != table[key]:
                    table[key] = absolute
                    changed = True
    return tomlkit.dumps(document) if changed else text


def _absolute_value(value: object, *, folder: Path) -> object:
    if isinstance(value, str):
        # An empty string stands for "no key file" and joins to the folder otherwise.
        return str(folder.absolute() / value) if value else ""
    if isinstance(value, list):
        return [_absolute_value(item, folder=folder) for item in value]
    return value
