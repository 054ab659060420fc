"""Gathers settings from a file, then the environment, then flags; the later wins.

- File: YAML, `--config FILE` or SHOAL_CONFIG.
- Environment: `SHOAL_` and the key in capitals, `__` between section and key: SHOAL_FRONT__PORT.
- Flags: `--front.port 65001` or `--front.port=65001`; one that is true needs no value.

Lists of text are given in variables and flags as `a,b`, as YAML or JSON, or (flags) by repetition;
lists of objects as YAML or JSON. A list replaces the one of an earlier source.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from shoal.agent.settings import AgentSettings
from shoal.agent.settings_file import read_settings_file
from shoal.agent.settings_keys import ENVIRONMENT_PREFIX, Key, all_keys, section_of
from shoal.core.errors import SettingsError

CONFIG_VARIABLE = "SHOAL_CONFIG"
# Read elsewhere, so no settings: which file to load, whether errors show their traceback, which
# agent `shoal pull` asks; and two of the tests', whose agents inherit them.
RESERVED_VARIABLES = frozenset(
    {CONFIG_VARIABLE, "SHOAL_DEBUG", "SHOAL_AGENT", "SHOAL_NO_SKIPS", "SHOAL_BED_DIR"}
)
# Source: Kubernetes documentation, "Accessing the Service", environment variables: what every pod
# gets for a Service of its namespace; one called `shoal` or `shoal-peers` must not stop the agent.
# The value is looked at too, lest SHOAL_FRONT_PORT=65001, a mistake, passes for one.
_SERVICE_LINK = re.compile(
    r"[A-Z0-9_]+_(?:SERVICE_HOST|SERVICE_PORT(?:_[A-Z0-9_]+)?|PORT_[0-9]+_(?:TCP|UDP|SCTP)_\w+)=.*"
    r"|[A-Z0-9_]+_PORT(?:_[0-9]+_(?:TCP|UDP|SCTP))?=(?:tcp|udp|sctp)://.*"
)


@dataclass(slots=True)
class Flags:
    """What the command line of `shoal agent` says."""

    texts: dict[str, list[str]] = field(default_factory=dict)  # setting's name -> as given
    config: Path | None = None
    help: bool = False


def parse_flags(arguments: Sequence[str]) -> Flags:
    """Sort the words after `shoal agent` into settings and the flags that are none.

    Raises:
        SettingsError: an unknown flag, a word that belongs to none, or a value missing.
    """
    keys = all_keys()
    flags = Flags()
    words = list(arguments)
    while words:
        word = words.pop(0)
        name, has_value, value = word.partition("=")
        if name in ("--help", "-h"):
            flags.help = True
            continue
        key = keys.get(name.removeprefix("--")) if name.startswith("--") else None
        if key is None and name not in ("--config", "-c"):
            hint = _nearest(name, {key.flag: key for key in keys.values()})
            if not name.startswith("-"):
                raise SettingsError(f"{word!r} is not a flag: write {hint or '--section.key'} ...")
            raise SettingsError(
                f"there is no flag {name}" + (f"; did you mean {hint}?" if hint else "")
            )
        if not has_value:
            if words and not words[0].startswith("--"):
                value = words.pop(0)
            elif key is not None and key.is_bool:
                value = "true"
            else:
                raise SettingsError(f"{name} needs a value, as in {name}=VALUE")
        if key is None:
            flags.config = Path(value)
        elif key.is_list and key.items is None:
            flags.texts.setdefault(key.name, []).append(value)
        else:
            flags.texts[key.name] = [value]
    return flags


def load_settings(
    *, environment: Mapping[str, str], flags: Flags, config: Path | None = None
) -> AgentSettings:
    """Return the settings that file, environment and flags give together, checked.

    Args:
        environment: variables, usually os.environ; those that do not begin with SHOAL_ are left.
        flags: the command line's, from `parse_flags`.
        config: file to use instead of the one that flags or environment name.

    Raises:
        SettingsError: one or more settings are unknown, malformed or contradict each other; the
            message names each with its source and what was expected.
    """
    gathered = _Gathered(all_keys())
    path = config or settings_path(environment=environment, flags=flags)
    if path is not None:
        gathered.add_file(path)
    gathered.add_environment(environment)
    gathered.add_flags(flags)
    return gathered.checked()


def settings_path(*, environment: Mapping[str, str], flags: Flags) -> Path | None:
    """Return the settings file that flags or environment name, or None."""
    named = environment.get(CONFIG_VARIABLE)
    return flags.config or (Path(named) if named else None)


class _Gathered:
    """Values so far, where each came from, and what is wrong with them."""

    def __init__(self, keys: dict[str, Key]) -> None:
        self._keys = keys
        self._values: dict[str, Any] = {}
        self._sources: dict[str, str] = {}
        self._problems: list[str] = []

    def add_file(self, path: Path) -> None:
        content = read_settings_file(path)
        # A section with all its keys commented out is None to YAML and means an empty one.
        self._values = {
            name: {} if value is None and _is_section(name) else value
            for name, value in content.values.items()
        }
        for name, line in content.lines.items():
            self._sources[name] = f"{path} line {line}"

    def add_environment(self, environment: Mapping[str, str]) -> None:
        by_variable = {key.variable: key for key in self._keys.values()}
        for variable in sorted(environment):
            if not variable.startswith(ENVIRONMENT_PREFIX) or variable in RESERVED_VARIABLES:
                continue
            key = by_variable.get(variable)
            if key is not None:
                self._set(key, [environment[variable]], f"environment variable {variable}")
            elif not _SERVICE_LINK.fullmatch(f"{variable}={environment[variable]}"):
                hint = _nearest(variable, by_variable)
                self._problems.append(
                    f"environment variable {variable} names no setting"
                    + (f"; did you mean {hint}?" if hint else "")
                )

    def add_flags(self, flags: Flags) -> None:
        for name, texts in flags.texts.items():
            self._set(self._keys[name], texts, f"flag --{name}")

    def _set(self, key: Key, texts: list[str], source: str) -> None:
        try:
            value = _value(key, texts)
        except (yaml.YAMLError, ValueError, TypeError) as exc:
            # A constructor's TypeError: `{[1]: 2}`, a list as a mapping's key.
            self._problems.append(f"{key.name}: {_short(str(exc))} ({source})")
            return
        section = self._values
        for part in key.path[:-1]:
            inner = section.setdefault(part, {})
            if not isinstance(inner, dict):  # the file has text where a section belongs
                return
            section = inner
        section[key.path[-1]] = value
        for name in [n for n in self._sources if n.startswith(f"{key.name}[")]:
            del self._sources[name]  # lines of a list that is replaced
        self._sources[key.name] = source

    def checked(self) -> AgentSettings:
        settings: AgentSettings | None = None
        try:
            settings = AgentSettings.model_validate(self._values)
        except ValidationError as exc:
            for error in exc.errors(include_url=False):
                self._problems += self._explain(error)
        if settings is not None and not self._problems:
            return settings
        if len(self._problems) == 1:
            raise SettingsError(self._problems[0])
        raise SettingsError(
            f"{len(self._problems)} settings are wrong:\n  " + "\n  ".join(self._problems)
        )

    def _explain(self, error: ErrorDetails) -> list[str]:
        if error["type"] == "contradiction":
            problems = error["ctx"]["problems"]
            return [message + self._from(*names) for names, message in problems]
        name = _dotted(error["loc"])
        if error["type"] == "extra_forbidden":
            hint = _nearest(name, _names_at(error["loc"]))
            return [
                f"{name}: there is no such setting"
                + (f"; did you mean {hint}?" if hint else "")
                + self._from(name)
            ]
        return [f"{name}: {_expected(error)}{self._from(name)}"]

    def _from(self, *names: str) -> str:
        sources: dict[str, None] = {}  # a dict keeps the order, most likely culprit first
        for name in names:
            at = name
            while at and at not in self._sources:
                at = at[: max(at.rfind("."), at.rfind("["), 0)]  # whatever an unknown key holds
            if at:
                sources[self._sources[at]] = None
        return f" ({', '.join(sources)})" if sources else ""


def _value(key: Key, texts: list[str]) -> object:
    if key.is_optional and not texts[0]:
        return None
    if key.items is not None and not key.is_list:
        value = yaml.safe_load(texts[0])
        if value is not None and not isinstance(value, dict):
            raise ValueError("expected an object as YAML or JSON, as {namespace: a, service: b}")
        return value
    if not key.is_list:
        return texts[0]
    if key.items is not None:
        value = yaml.safe_load(texts[0])
        if isinstance(value, dict):
            value = [value]
        if value is not None and not isinstance(value, list):
            raise ValueError("expected a list of objects as YAML or JSON, as [{name: docker.io}]")
        return value or []
    items: list[object] = []
    for text in texts:
        parsed = None
        if text.startswith("["):
            try:
                parsed = yaml.safe_load(text)
            except (yaml.YAMLError, TypeError):
                parsed = None  # `[::1]:65002` begins like a list
        if isinstance(parsed, list):
            items += parsed
        else:
            items += [part.strip() for part in text.split(",") if part.strip()]
    return items


def _is_section(name: str) -> bool:
    declared = AgentSettings.model_fields.get(name)
    return declared is not None and section_of(declared) is not None


def _names_at(location: Sequence[str | int]) -> list[str]:
    """Return the names that would have been right beside or below the one at `location`."""
    prefix = _dotted(location[:-1])
    key = all_keys().get(prefix.partition("[")[0])
    if key is not None and key.items is not None:
        return [f"{prefix}.{name}" for name in key.items.model_fields]
    return [*all_keys(), *AgentSettings.model_fields]


def _nearest(name: str, names: Sequence[str] | Mapping[str, object]) -> str | None:
    # A key written without its section may be any of several.
    found = [known for known in names if known.rpartition(".")[2] == name.lstrip("-")]
    found = found or get_close_matches(name, list(names), n=1, cutoff=0.6)
    return " or ".join(found) or None


def _dotted(location: Sequence[str | int]) -> str:
    text = ""
    for part in location:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def _expected(error: ErrorDetails) -> str:
    kind, given = error["type"], error.get("input")
    context = error.get("ctx") or {}
    match kind:
        case "missing":
            return "is required"
        case "value_error":
            return _short(str(context["error"]))
        case "int_parsing" | "int_type" | "int_from_float" | "int_parsing_size":
            what = "a whole number"
        case "float_parsing" | "float_type" | "finite_number":
            what = "a number"
        case "bool_parsing" | "bool_type":
            what = "true or false"
        case "string_type":
            what = "text"
        case "path_type":
            what = "a path"
        case "tuple_type":
            what = "a list"
        case "model_type" | "model_attributes_type":
            what = "a section of keys and values"
        case "literal_error":
            what = context["expected"]
        case "greater_than_equal":
            what = f"at least {context['ge']:g}"
        case "greater_than":
            what = f"more than {context['gt']:g}"
        case "less_than_equal":
            what = f"at most {context['le']:g}"
        case "too_short":
            what = "at least one item"
        case _:
            what = str(error["msg"]).removeprefix("Input should be ")
    return f"expected {what}, got {_short(repr(given), 80)}"


def _short(text: str, limit: int = 256) -> str:
    # No setting is a secret, but a URL with a password in it may stand where none belongs.
    text = re.sub(r"//[^/@\s]*@", "//...@", text)
    return text if len(text) <= limit else text[: limit - 3] + "..."
