"""What the stand-in of an API server holds: objects of any kind, their versions and their past."""

import copy
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal, Self

from shoal.core.errors import BadInput

_FIELDS = ("metadata.name", "metadata.namespace", "spec.nodeName")
EventKind = Literal["ADDED", "MODIFIED", "DELETED"]
Matches = Callable[[dict[str, Any]], bool]


@dataclass(frozen=True, slots=True)
class ResourcePath:
    """A collection, or an object of one: `/apis/apps/v1/namespaces/a/daemonsets/b`."""

    group: str
    """Group and version: `v1`, `apps/v1`."""
    namespace: str | None
    """None: all namespaces, or a kind that has none."""
    resource: str
    """Plural, as in the path."""
    name: str | None
    subresource: str | None = None
    """As `status`, of an object."""

    @classmethod
    def parse(cls, path: str) -> Self:
        """Return what a URL's path means.

        Raises:
            BadInput: it is no resource's.
        """
        parts = path.strip("/").split("/")
        if parts[0] == "api" and len(parts) >= 3:
            group, rest = parts[1], parts[2:]
        elif parts[0] == "apis" and len(parts) >= 4:
            group, rest = "/".join(parts[1:3]), parts[3:]
        else:
            raise BadInput(f"{path!r} is not the path of a resource")
        namespace = None
        if rest[0] == "namespaces" and len(rest) >= 3:
            namespace, rest = rest[1], rest[2:]
        if len(rest) > 3 or not all(rest):
            raise BadInput(f"{path!r} is not the path of a resource")
        name, subresource = (*rest[1:], None, None)[:2]
        return cls(group, namespace, rest[0], name, subresource)

    @property
    def object(self) -> "ResourcePath":
        """The object that this is, or is a part of."""
        return replace(self, subresource=None)

    def of(self, name: str) -> "ResourcePath":
        """Return the path of an object of this collection."""
        return replace(self, name=name)

    def __str__(self) -> str:
        root = "apis" if "/" in self.group else "api"
        where = f"/namespaces/{self.namespace}" if self.namespace else ""
        parts = [part for part in (self.resource, self.name, self.subresource) if part]
        return f"/{root}/{self.group}{where}/{'/'.join(parts)}"

    def holds(self, other: "ResourcePath") -> bool:
        """Return whether the object at `other` belongs to this collection."""
        return (self.group, self.resource) == (other.group, other.resource) and (
            self.namespace in (None, other.namespace)
        )


@dataclass(frozen=True, slots=True)
class Event:
    """A change: the object after it and before it."""

    version: int
    kind: EventKind
    path: ResourcePath
    now: dict[str, Any]
    before: dict[str, Any] | None


class Objects:
    """All objects, under one counter of versions as in etcd."""

    def __init__(self) -> None:
        """Hold nothing."""
        self.version = 1000
        self._objects: dict[ResourcePath, dict[str, Any]] = {}
        self._past: deque[Event] = deque(maxlen=100_000)
        self._forgotten = self.version  # changes up to this version cannot be told any more

    def put(self, path: ResourcePath, thing: dict[str, Any]) -> Event:
        """Create or replace an object; it gets name, namespace, version and an identity."""
        self.version += 1
        before = self._objects.get(path)
        thing = copy.deepcopy(thing)
        metadata = thing.setdefault("metadata", {})
        metadata |= {"name": path.name, "resourceVersion": str(self.version)}
        kept = before["metadata"] if before is not None else {"uid": f"uid-{self.version}"}
        metadata["uid"] = kept["uid"]
        if path.namespace is not None:
            metadata["namespace"] = path.namespace
        self._objects[path] = thing
        kind: EventKind = "ADDED" if before is None else "MODIFIED"
        return self._remember(Event(self.version, kind, path, thing, before))

    def delete(self, path: ResourcePath) -> Event:
        """Delete an object.

        Raises:
            KeyError: there is none.
        """
        before = self._objects.pop(path)
        self.version += 1
        metadata = before["metadata"] | {"resourceVersion": str(self.version)}
        return self._remember(
            Event(self.version, "DELETED", path, before | {"metadata": metadata}, before)
        )

    def get(self, path: ResourcePath) -> dict[str, Any] | None:
        """Return one object, or None."""
        return self._objects.get(path)

    def versions_of(self, group: str) -> set[str]:
        """Return the groups with versions, as `apps/v1`, of the objects of a group."""
        groups = {path.group for path in self._objects}
        return {version for version in groups if version.startswith(f"{group}/")}

    def owned_by(self, uid: str) -> list[ResourcePath]:
        """Return the objects that have this one as an owner and no other that is still there."""
        there = {thing["metadata"]["uid"] for thing in self._objects.values()}
        found = []
        for path, thing in self._objects.items():
            owners = {owner["uid"] for owner in thing["metadata"].get("ownerReferences") or ()}
            if uid in owners and not owners & there:
                found.append(path)
        return found

    def paths(self) -> list[ResourcePath]:
        """Return where there is an object."""
        return list(self._objects)

    def orphans(self) -> list[ResourcePath]:
        """Return the objects whose owners have all gone."""
        there = {thing["metadata"]["uid"] for thing in self._objects.values()}
        return [
            path
            for path, thing in self._objects.items()
            if (owners := thing["metadata"].get("ownerReferences"))
            and not {owner["uid"] for owner in owners} & there
        ]

    def all(self, collection: ResourcePath, matches: Matches) -> list[dict[str, Any]]:
        """Return the objects of a collection, in order of their names."""
        held = sorted(
            (
                (path.namespace or "", path.name or "", thing)
                for path, thing in self._in(collection)
            ),
            key=lambda item: item[:2],
        )
        return [thing for _, _, thing in held if matches(thing)]

    def since(self, version: int) -> list[Event] | None:
        """Return what has changed after `version`, or None if that is too long ago."""
        if version < self._forgotten:
            return None
        return [event for event in self._past if event.version > version]

    def forget(self) -> None:
        """Compact, as etcd does every five minutes: no version of the past is known any more."""
        self._past.clear()
        self.version += 1
        self._forgotten = self.version

    def _in(self, collection: ResourcePath) -> Iterator[tuple[ResourcePath, dict[str, Any]]]:
        return ((path, thing) for path, thing in self._objects.items() if collection.holds(path))

    def _remember(self, event: Event) -> Event:
        self._past.append(event)
        return event


def matcher(label_selector: str, field_selector: str = "") -> Matches:
    """Return what tells whether an object matches selectors of equality: `a=b,c==d,e`.

    Raises:
        BadInput: a selector of another form.
    """
    labels = [_term(text) for text in label_selector.split(",") if text]
    fields = [_term(text) for text in field_selector.split(",") if text]
    if any(key not in _FIELDS for key, _ in fields):
        raise BadInput(f"unknown field in {field_selector!r}")

    def matches(thing: dict[str, Any]) -> bool:
        metadata = thing["metadata"]
        has = metadata.get("labels") or {}
        return all(
            key in has and (value is None or has[key] == value) for key, value in labels
        ) and all(_field(thing, key) == value for key, value in fields)

    return matches


def _field(thing: dict[str, Any], key: str) -> object:
    part, _, name = key.partition(".")
    return (thing.get(part) or {}).get(name)


def _term(text: str) -> tuple[str, str | None]:
    key, equals, value = text.replace("==", "=").partition("=")
    if not key or any(mark in text for mark in "!() "):
        raise BadInput(f"the selector {text!r} is not understood here")
    return key, value if equals else None
