"""Tells people about the settings: the text of `shoal agent --help`, and docs/settings.md."""

import textwrap
from collections.abc import Iterator
from typing import Literal, get_args, get_origin

from pydantic_core import PydanticUndefined

from shoal.agent.settings import AgentSettings
from shoal.agent.settings_keys import Key, keys_of, one_line, section_of
from shoal.agent.settings_live import is_live
from shoal.core.units import format_size


def kind_of(key: Key) -> str:
    """Return in a few words what a setting takes."""
    annotation = key.field.annotation
    is_path = "Path" in str(annotation)  # within Annotated, within a union
    choices = [a for a in (annotation, *get_args(annotation)) if get_origin(a) is Literal]
    if key.items is not None:
        return "list of objects" if key.is_list else "object"
    if key.is_list:
        return "list"
    if choices:
        return " or ".join(f"`{choice}`" for choice in get_args(choices[0]))
    if key.is_bool:
        return "true or false"
    if key.path[-1].endswith("_bytes"):
        return "size, as `20GiB`"
    if key.path[-1].endswith("_bytes_per_s"):
        return "rate, as `512MB/s` or `100Mbit/s`"
    if key.path[-1].endswith("_s"):
        return "time in seconds, or as `500ms`, `2m`"
    if annotation is int:
        return "number"
    if is_path:
        return "absolute path"
    return "text"


def default_of(key: Key) -> str:
    """Return a setting's default as it would be written in a file."""
    default = key.field.default
    if default is PydanticUndefined:
        return "required"
    if isinstance(default, bool):
        return str(default).lower()
    if default is None or default in ((), ""):
        return "none"
    if isinstance(default, tuple):
        return ", ".join(str(item) for item in default)
    if key.path[-1].endswith("_bytes"):
        return format_size(default).replace(" ", "")
    if isinstance(default, float):
        return f"{default:g}"
    return str(default)


def _sections() -> Iterator[tuple[str, str, list[Key]]]:
    """Yield name, description and settings of each section; first the settings that stand alone."""
    alone: list[Key] = []
    sections: list[tuple[str, str, list[Key]]] = []
    for name, field in AgentSettings.model_fields.items():
        model = section_of(field)
        if model is not None:
            sections.append((name, one_line(model.__doc__), list(keys_of(model, (name,)))))
    alone = [key for key in keys_of(AgentSettings) if len(key.path) == 1]
    yield "", "Settings of no section.", alone
    yield from sections


def _item_keys(key: Key) -> list[Key]:
    name = f"{key.name}[]" if key.is_list else key.name
    return list(keys_of(key.items, (name,))) if key.items is not None else []


def help_text(*, width: int = 100) -> str:
    """Return the help of `shoal agent`, in lines of at most `width` characters."""
    lines = [
        "Usage: shoal agent [--config FILE] [--SECTION.KEY VALUE]...",
        "",
        "Run the agent of this node, under a supervisor that replaces it if it hangs or dies.",
        "",
        "Settings come from a YAML file (--config, or SHOAL_CONFIG), then from the environment",
        "(--front.port is SHOAL_FRONT__PORT), then from flags; the later wins.",
        "",
        "  -c, --config FILE   the settings file",
        "  -h, --help          this text",
    ]
    for name, description, keys in _sections():
        lines += ["", f"{name or 'other'}: {description}"]
        for key in keys:
            kind = kind_of(key).replace("`", "")
            lines.append(f"  {key.flag} ({kind}; default {default_of(key)})")
            lines += _wrapped(key.description, width)
            for item in _item_keys(key):
                lines.append(
                    f"    {item.path[-1]} ({kind_of(item).replace('`', '')}; "
                    f"{_default_words(item)})"
                )
    lines += ["", "All about each setting: docs/settings.md."]
    return "\n".join(lines) + "\n"


def _default_words(key: Key) -> str:
    text = default_of(key)
    return text if text == "required" else f"default {text}"


def _wrapped(text: str, width: int) -> list[str]:
    indent = " " * 6
    return textwrap.wrap(
        text.replace("`", ""), width, initial_indent=indent, subsequent_indent=indent
    )


_INTRODUCTION = """\
# Settings of `shoal agent`

<!-- Written by tools/gen_docs.py from src/shoal/agent/settings.py: change it there. -->

Settings come from three places, and the later wins:

1. a YAML file, named by `--config FILE` or `SHOAL_CONFIG`: `front: {port: 65001}`;
2. the environment: `SHOAL_`, then section and key in capitals with two underscores between them:
   `SHOAL_FRONT__PORT=65001`;
3. flags: `--front.port 65001` or `--front.port=65001`; a flag that is true needs no value.

A number is in the unit that its key ends in; text may have a unit of its own: sizes `20GiB`,
`500MB`; rates `512MB/s`, `100Mbit/s`; times `500ms`, `2m`, `1h`. Lists are YAML in a file; in the
environment and in flags they are `a,b` or YAML or JSON (`["a", "b"]`), and a flag may also be
repeated. A list takes the place of an earlier one as a whole.

A key that is not on this page is an error, and so is a value that a setting does not take: the
agent then says which, where it came from, what was expected, and ends with exit code 78. No
setting is a secret: where a secret is needed, the setting is the path of a file.

**At run time.** On SIGHUP (`kill -HUP` of `shoal agent`) the agent reads the file again; the
environment and flags stay as they were, and still win. What is *live* below changes at once, and no
transfer is lost; other keys that changed are named in the log and wait for a restart. If anything
in the file is wrong, all of the old settings stay, the log has an error with the key and what was
expected, and `shoal_config_last_reload_successful` is 0.
"""


def settings_markdown() -> str:
    """Return docs/settings.md."""
    parts = [_INTRODUCTION]
    for name, description, keys in _sections():
        title = f"`{name}`" if name else "Without a section"
        parts.append(f"## {title}\n\n{description}\n\n{_table(keys)}")
        parts += [
            f"### {'Each of ' * key.is_list}`{key.name}`\n\n{one_line(key.items.__doc__)}\n\n"
            f"{_table(_item_keys(key), alone=False)}"
            for key in keys
            if key.items is not None
        ]
    return "\n".join(parts)


def _table(keys: list[Key], *, alone: bool = True) -> str:
    rows = ["| key | takes | default | live | meaning |", "|---|---|---|---|---|"]
    for key in keys:
        name = f"`{key.name}`" + (f"<br>`{key.variable}`" if alone else "")
        default = default_of(key)
        shown = default if default in ("none", "required") else f"`{default}`"
        meaning = key.description.replace("|", "\\|")
        live = "yes" if is_live(key.name) else ""
        rows.append(f"| {name} | {kind_of(key)} | {shown} | {live} | {meaning} |")
    return "\n".join(rows) + "\n"
