"""What a node's containers are told: by variables, and by the settings that the agent itself reads.

Those settings are read here with less care than the agent takes: they come from the Job, and what
is wrong with them the agent says.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path

import yaml

from shoal.adapters.runtime.registry_name import RegistryName
from shoal.core.errors import BadInput, SettingsError

# Section of the settings, the chart's value that it comes from, and the default.
_PORTS = (
    ("front", "p2p.port", 65001),
    ("peer", "p2p.v2.p2pPort", 65002),
    ("exporter", "p2p.v2.exporter.port", 65003),
)
_MAX_FILE_BYTES = 1024 * 1024
_MAX_HEADER_CHARS = 4096
# What the webhook makes of a registry's host, followed by the front's port: no such host exists,
# so that who cannot reach the agent has to be sent to the registry itself.
_REWRITTEN = ".distributed."


class RuntimeType(StrEnum):
    """The container runtimes whose files are known; values of the chart's `runtime.type`."""

    CONTAINERD = "containerd"
    K3S = "k3s"
    CRIO = "crio"


@dataclass(frozen=True, slots=True)
class RuntimePlace:
    """This node's container runtime, and the folder of its configuration, at the node's own path.

    The path is the node's, because paths of certificates are written into files there.
    """

    type: RuntimeType
    folder: Path
    may_restart: bool = False


@dataclass(frozen=True, slots=True)
class ServedName:
    """A name that images have for a registry, and what is asked where the agent cannot help."""

    name: RegistryName
    plain_http: bool = False
    server: str | None = None  # URL of that; None: `name` itself
    path: str | None = None
    """What stands before the repository where the agent's own address is that of the image; empty
    for the agent's default registry, None if no such reference can be written."""
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    """What shows the agent that the runtime asks, where that gives it the node's own access."""

    @property
    def registry(self) -> str:
        """Host, and port if any, of what is asked where the agent cannot help."""
        return self.server.partition("://")[2] if self.server else self.name.text


@dataclass(frozen=True, slots=True)
class AgentTold:
    """What the agent's settings say that concerns the runtime."""

    front_port: int
    names: tuple[ServedName, ...]
    ports: tuple[tuple[str, int], ...] = ()
    """All that the agent listens on, each with the chart's value that says so."""

    @property
    def front_url(self) -> str:
        """Where the runtime reaches the agent."""
        return f"http://127.0.0.1:{self.front_port}"


def variable(name: str, environment: Mapping[str, str] = os.environ) -> str:
    """Return the variable SHOAL_SETUP_`name`.

    Raises:
        SettingsError: it is not set.
    """
    value = environment.get(f"SHOAL_SETUP_{name}", "")
    if not value:
        raise SettingsError(
            f"SHOAL_SETUP_{name} is not set: this command is for the chart's containers"
        )
    return value


def runtime_place(environment: Mapping[str, str] = os.environ) -> RuntimePlace:
    """Return this node's runtime.

    Raises:
        SettingsError: a variable is not set, or says what is not known here.
    """
    name = variable("RUNTIME", environment)
    try:
        type_ = RuntimeType(name)
    except ValueError:
        known = ", ".join(RuntimeType)
        raise SettingsError(
            f"SHOAL_SETUP_RUNTIME is {name!r}: runtime.type is one of {known}"
        ) from None
    folder = Path(variable("RUNTIME_DIR", environment))
    if not folder.is_absolute():
        raise SettingsError(f"SHOAL_SETUP_RUNTIME_DIR is {str(folder)!r}, no absolute path")
    return RuntimePlace(type_, folder, environment.get("SHOAL_SETUP_RUNTIME_RESTART") == "true")


def read_agent(path: Path, *, node_header: tuple[str, Path] | None = None) -> AgentTold:
    """Return what the agent's settings at `path` say.

    Args:
        path: the file.
        node_header: name of the header by which the agent knows the runtime, and the file in which
            the agent keeps its value; for registries that are asked by the node's own credential.

    Raises:
        SettingsError: they cannot be read, or are not settings.
    """
    try:
        with path.open("rb") as file:
            content = file.read(_MAX_FILE_BYTES + 1)
    except OSError as exc:
        raise SettingsError(f"cannot read the agent's settings {path}: {exc.strerror}") from exc
    if len(content) > _MAX_FILE_BYTES:
        raise SettingsError(f"the agent's settings {path} are longer than {_MAX_FILE_BYTES} bytes")
    try:
        settings = yaml.safe_load(content)
    except (yaml.YAMLError, ValueError, TypeError, RecursionError) as exc:
        raise SettingsError(f"the agent's settings {path} are not YAML") from exc
    if not isinstance(settings, dict):
        raise SettingsError(f"the agent's settings {path} are no mapping")
    ports = [
        (value, port)
        for section, value, usual in _PORTS
        if (port := _port(settings.get(section), usual, key=f"{section}.port in {path}"))
    ]
    registries = settings.get("registries") or []
    if not isinstance(registries, list):
        raise SettingsError(f"registries in {path} are no list")
    found: dict[RegistryName, ServedName] = {}
    try:
        for registry in registries:
            headers = _headers(registry, node_header)
            for served in _names_of(registry, front_port=ports[0][1]):
                found.setdefault(served.name, replace(served, headers=headers))
    except (BadInput, TypeError, KeyError) as exc:
        raise SettingsError(f"registries in {path}: {exc}") from exc
    return AgentTold(ports[0][1], tuple(found.values()), tuple(ports))


def _port(section: object, usual: int, *, key: str) -> int | None:
    """Return the port that a section of the settings names; None if that part is off."""
    if not isinstance(section, dict):
        return usual
    if section.get("enabled") is False:
        return None
    port = section.get("port", usual)
    if not isinstance(port, int) or not 0 < port < 65536:
        raise SettingsError(f"{key} is {port!r}, no port")
    return port


def _headers(registry: object, node_header: tuple[str, Path] | None) -> tuple[tuple[str, str], ...]:
    if node_header is None or not isinstance(registry, dict) or registry.get("access") != "node":
        return ()
    name, path = node_header
    try:
        with path.open(encoding="ascii") as file:
            return ((name, file.read(_MAX_HEADER_CHARS).strip()),)
    except FileNotFoundError:
        return ()  # the agent has never run here; pulls are as without it until the next look
    except (OSError, UnicodeDecodeError) as exc:
        raise SettingsError(f"cannot read {path}, which the agent has written: {exc}") from exc


def _names_of(registry: object, *, front_port: int) -> list[ServedName]:
    if not isinstance(registry, dict):
        raise TypeError(f"{registry!r} is no registry")
    plain_http = registry.get("plain_http") is True
    name = RegistryName.parse(str(registry["name"]))
    aliases = registry.get("aliases") or []
    if not isinstance(aliases, list):
        raise TypeError(f"aliases of {name} are no list")
    parsed = [RegistryName.parse(str(text)) for text in aliases]
    # A part of a repository's path has no colon, by the grammar of references.
    paths = [it.text for it in (name, *parsed) if ":" not in it.text]
    path = paths[0] if paths else "" if registry.get("default") is True else None
    names = [ServedName(name, plain_http, path=path)]
    for alias in parsed:
        if _REWRITTEN not in alias.text:
            names.append(ServedName(alias, plain_http, path=path))
            continue
        if len(alias.folder_names()) == 1:  # without a port, which images have
            alias = RegistryName.parse(f"{alias.text}:{front_port}")
        scheme = "http" if plain_http else "https"
        server = name.server(plain_http=plain_http) or f"{scheme}://{name}"
        names.append(ServedName(alias, plain_http, server, path))
    return names
