"""Rows as the core's frozen records, and back: enums as their text, tuples as JSON."""

import json
from collections.abc import Mapping
from dataclasses import fields
from enum import StrEnum
from functools import cache
from typing import Any, ClassVar, Protocol, TypeVar, get_type_hints

from sqlalchemy import Row

from shoal.core.errors import ShoalError


class NotFound(ShoalError):
    """There is no such record; the message says what was looked for."""


class AlreadyExists(ShoalError):
    """A record of this name or id is there already."""


class StillInUse(ShoalError):
    """Something else refers to the record, and is named."""


class _Record(Protocol):
    __dataclass_fields__: ClassVar[dict[str, Any]]


R = TypeVar("R", bound=_Record)


def from_row(kind: type[R], row: Row[Any]) -> R:
    """Return `row` as a record of `kind`; columns that the record does not have are left out."""
    given = row._mapping
    return kind(**{name: _in(hint, given[name]) for name, hint in _hints(kind).items()})


def to_row(record: _Record) -> Mapping[str, object]:
    """Return the column values of `record`."""
    return {field.name: _out(getattr(record, field.name)) for field in fields(record)}


@cache
def _hints(kind: type[_Record]) -> Mapping[str, object]:
    return get_type_hints(kind)


def _in(hint: object, value: object) -> object:
    if hint == tuple[str, ...]:
        return tuple(json.loads(str(value)))
    if isinstance(hint, type) and issubclass(hint, StrEnum):
        return hint(str(value))
    return value


def _out(value: object) -> object:
    if isinstance(value, tuple):
        return json.dumps(value)
    return value.value if isinstance(value, StrEnum) else value
