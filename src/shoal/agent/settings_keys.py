"""The list of all settings, read off the models: for flags, environment, help and documentation."""

from collections.abc import Iterator
from dataclasses import dataclass
from types import NoneType
from typing import get_args, get_origin

from pydantic.fields import FieldInfo

from shoal.agent.settings import AgentSettings, Section

ENVIRONMENT_PREFIX = "SHOAL_"


@dataclass(frozen=True, slots=True)
class Key:
    """One setting that can be given by itself.

    `is_list` of text takes items separated by commas too; `items` is the model of a list's
    objects, or of an object that may be absent, whose own settings are given together as YAML or
    JSON.
    """

    path: tuple[str, ...]
    field: FieldInfo
    is_bool: bool
    is_list: bool
    is_optional: bool
    items: type[Section] | None

    @property
    def name(self) -> str:
        """As in a file and in messages: `front.port`."""
        return ".".join(self.path)

    @property
    def flag(self) -> str:
        """As on the command line: `--front.port`."""
        return f"--{self.name}"

    @property
    def variable(self) -> str:
        """As in the environment: `SHOAL_FRONT__PORT`.

        Two underscores part section and key, since one is part of many keys, and since Kubernetes
        sets variables such as SHOAL_PORT for a Service that is called shoal.
        """
        return ENVIRONMENT_PREFIX + "__".join(self.path).upper()

    @property
    def description(self) -> str:
        """What it means, with unit and reason for the default, on one line."""
        return one_line(self.field.description)


def one_line(text: str | None) -> str:
    """Return `text` with its line breaks taken out."""
    return " ".join((text or "").split())


def section_of(field: FieldInfo) -> type[Section] | None:
    """Return the model of a field that is a section of further settings, or None."""
    annotation = field.annotation
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return annotation
    return None


def _item_model(annotation: object) -> type[Section] | None:
    for item in get_args(annotation):  # of `tuple[X, ...]`, of `X | None`
        if isinstance(item, type) and issubclass(item, Section):
            return item
    return None


def keys_of(model: type[Section], path: tuple[str, ...] = ()) -> Iterator[Key]:
    """Yield the settings of `model` in the order in which they are declared."""
    for name, field in model.model_fields.items():
        section = section_of(field)
        if section is not None:
            yield from keys_of(section, (*path, name))
            continue
        annotation = field.annotation
        yield Key(
            path=(*path, name),
            field=field,
            is_bool=annotation is bool,
            is_list=get_origin(annotation) is tuple,
            is_optional=NoneType in get_args(annotation),
            items=_item_model(annotation),
        )


def all_keys() -> dict[str, Key]:
    """Return every setting of the agent by name, in the order in which they are declared."""
    return {key.name: key for key in keys_of(AgentSettings)}
