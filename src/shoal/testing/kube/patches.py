"""How a patch changes an object: merge, strategic merge and JSON patch."""

import copy
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from shoal.core.errors import BadInput

Json: TypeAlias = Any  # whatever a parser of JSON returns

# What tells the elements of a list apart, of the lists that are merged and not put as a whole.
# Source: `patchMergeKey` in the Kubernetes API's types.
_MERGE_KEYS: Mapping[str, str] = {
    "addresses": "type",
    "conditions": "type",
    "containers": "name",
    "env": "name",
    "ephemeralContainers": "name",
    "imagePullSecrets": "name",
    "initContainers": "name",
    "ownerReferences": "uid",
    "volumes": "name",
}


def merged(thing: Json, change: Json) -> Json:
    """Return `thing` after a merge patch. Source: RFC 7386."""
    if not isinstance(change, Mapping):
        return copy.deepcopy(change)
    result = dict(thing) if isinstance(thing, Mapping) else {}
    for key, value in change.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merged(result.get(key), value)
    return result


def strategic(thing: Json, change: Json, *, field: str = "") -> Json:
    """Return `thing` after a strategic merge patch of what is the value of `field`."""
    key = _MERGE_KEYS.get(field)
    if isinstance(change, list) and key is not None:
        return _merged_list(thing if isinstance(thing, list) else [], change, key)
    if not isinstance(change, Mapping):
        return copy.deepcopy(change)
    result = dict(thing) if isinstance(thing, Mapping) else {}
    for name, value in change.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = strategic(result.get(name), value, field=name)
    return result


def _merged_list(items: list[Json], changes: list[Json], key: str) -> list[Json]:
    result = list(items)
    for change in changes:
        at = next((i for i, item in enumerate(result) if item.get(key) == change[key]), None)
        if change.get("$patch") == "delete":
            if at is not None:
                del result[at]
        elif at is None:
            result.append(copy.deepcopy(change))
        else:
            result[at] = strategic(result[at], change)
    return result


def json_patched(thing: Json, operations: Sequence[Mapping[str, Json]]) -> Json:
    """Return `thing` after a JSON patch of add, remove, replace and test. Source: RFC 6902.

    Raises:
        BadInput: an operation that does not fit.
    """
    result = copy.deepcopy(thing)
    for operation in operations:
        steps = [
            part.replace("~1", "/").replace("~0", "~")
            for part in str(operation["path"]).split("/")[1:]
        ]
        if not steps:
            raise BadInput("an operation on a whole object is not understood here")
        try:
            place = result
            for step in steps[:-1]:
                place = place[int(step) if isinstance(place, list) else step]
            _operate(place, steps[-1], operation)
        except (KeyError, IndexError, TypeError, ValueError) as exc:
            raise BadInput(f"{operation} does not fit: {exc!r}") from exc
    return result


def _operate(place: Json, step: str, operation: Mapping[str, Json]) -> None:
    kind = operation["op"]
    at: Json = step
    if isinstance(place, list):
        at = len(place) if step == "-" else int(step)
    if kind == "add":
        if isinstance(place, list):
            if at > len(place):
                raise IndexError(at)
            place.insert(at, copy.deepcopy(operation["value"]))
        else:
            place[at] = copy.deepcopy(operation["value"])
    elif kind == "replace":
        place[at]
        place[at] = copy.deepcopy(operation["value"])
    elif kind == "remove":
        del place[at]
    elif kind == "test":
        if place[at] != operation["value"]:
            raise BadInput(f"{operation['path']} is {place[at]!r}")
    else:
        raise BadInput(f"the operation {kind!r} is not understood here")
