"""Reads a settings file: YAML in which no key stands twice and every key knows its line."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import yaml

from shoal.core.errors import SettingsError

# A hundred registries with every key set take some 100 KB; beyond this it is another file.
MAX_FILE_BYTES = 1024 * 1024
# Aliases can make a small file expand without end.
MAX_NODES = 50_000


@dataclass(frozen=True, slots=True)
class SettingsFile:
    """What a file says: nested values, and the line of each key (`registries[0].url`)."""

    values: dict[str, object]
    lines: dict[str, int]


def read_settings_file(path: Path) -> SettingsFile:
    """Return what the YAML file `path` says.

    Raises:
        SettingsError: it cannot be read, is no YAML mapping, or has a key twice.
    """
    try:
        with path.open("rb") as file:
            content = file.read(MAX_FILE_BYTES + 1)
    except OSError as exc:
        raise SettingsError(f"cannot read the settings file {path}: {exc.strerror}") from exc
    if len(content) > MAX_FILE_BYTES:
        raise SettingsError(f"the settings file {path} is larger than {MAX_FILE_BYTES} bytes")
    try:
        loader = yaml.SafeLoader(content)
        node = loader.get_single_node()
        lines = dict(_lines(node, "", [0])) if node is not None else {}
        values = loader.construct_document(node) if node is not None else {}
    except (yaml.YAMLError, ValueError, RecursionError) as exc:
        raise SettingsError(f"the settings file {path} is not valid YAML: {_where(exc)}") from exc
    if values is None:
        values = {}
    if not isinstance(values, dict):
        raise SettingsError(f"the settings file {path} must be a mapping of sections to keys")
    return SettingsFile(values, lines)


def _lines(node: yaml.Node, prefix: str, seen: list[int]) -> Iterator[tuple[str, int]]:
    seen[0] += 1
    if seen[0] > MAX_NODES:
        raise ValueError(f"more than {MAX_NODES} values")
    if isinstance(node, yaml.MappingNode):
        names = set()
        for key, value in node.value:
            line = key.start_mark.line + 1
            if not isinstance(key, yaml.ScalarNode):
                raise ValueError(f"line {line}: a key must be a word, not a list or a mapping")
            if key.value in names:
                raise ValueError(f"key {key.value!r} stands twice, the second time in line {line}")
            names.add(key.value)
            name = f"{prefix}.{key.value}" if prefix else str(key.value)
            yield name, line
            yield from _lines(value, name, seen)
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            name = f"{prefix}[{index}]"
            yield name, value.start_mark.line + 1
            yield from _lines(value, name, seen)


def _where(exc: Exception) -> str:
    # The library's own text quotes the offending lines, which may hold what nobody should log.
    if isinstance(exc, yaml.MarkedYAMLError) and exc.problem_mark is not None:
        mark = exc.problem_mark
        return f"line {mark.line + 1}, column {mark.column + 1}: {exc.problem}"
    if isinstance(exc, RecursionError):
        return "nested too deeply"
    return str(exc)[:256]
