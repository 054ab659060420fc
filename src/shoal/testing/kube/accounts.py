"""Who asks a stand-in of an API server, and what the roles that it holds let them do."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from shoal.testing.kube.objects import Objects, ResourcePath

_RBAC = "rbac.authorization.k8s.io/v1"
_SERVICE_ACCOUNT = "system:serviceaccount:"
API_AUDIENCE = "https://kubernetes.default.svc"


@dataclass(frozen=True, slots=True)
class Identity:
    """What a token proves."""

    user: str
    """As `system:serviceaccount:NAMESPACE:NAME`."""
    uid: str = ""
    audiences: tuple[str, ...] = (API_AUDIENCE,)
    extra: Mapping[str, list[str]] = field(default_factory=dict)
    """Claims as `authentication.kubernetes.io/pod-name`."""


def service_account(namespace: str, name: str) -> str:
    """Return the user's name of an account."""
    return f"{_SERVICE_ACCOUNT}{namespace}:{name}"


@dataclass(frozen=True, slots=True)
class Wish:
    """What somebody wants to do."""

    verb: str
    group: str
    """Without version; empty for the core."""
    resource: str
    """With its subresource, as `nodes/status`."""
    namespace: str | None = None
    name: str | None = None

    @classmethod
    def of(cls, verb: str, path: ResourcePath, *, field_selector: str = "") -> "Wish":
        """Return what a request wants; a list of one object by name counts as that object's."""
        named = field_selector.partition("metadata.name=")[2].split(",")[0]
        group = path.group.partition("/")[0] if "/" in path.group else ""
        resource = path.resource + (f"/{path.subresource}" if path.subresource else "")
        return cls(verb, group, resource, path.namespace, path.name or named or None)


def is_allowed(objects: Objects, user: str, wish: Wish) -> bool:
    """Return whether a role that is bound to `user` allows it."""
    return any(_covers(rule, wish) for rule in _rules(objects, user, wish.namespace))


def _rules(objects: Objects, user: str, namespace: str | None) -> Iterator[dict[str, Any]]:
    scopes: list[str | None] = [None, namespace] if namespace else [None]
    for scope in scopes:
        kind = "rolebindings" if scope else "clusterrolebindings"
        for binding in objects.all(ResourcePath(_RBAC, scope, kind, None), lambda _: True):
            if any(_is_subject(subject, user, scope) for subject in binding["subjects"]):
                ref = binding["roleRef"]
                is_cluster = ref["kind"] == "ClusterRole"
                path = ResourcePath(
                    _RBAC,
                    None if is_cluster else scope,
                    "clusterroles" if is_cluster else "roles",
                    ref["name"],
                )
                yield from (objects.get(path) or {}).get("rules") or ()


def _is_subject(subject: dict[str, Any], user: str, scope: str | None) -> bool:
    if subject["kind"] != "ServiceAccount":
        return bool(subject["name"] == user)
    namespace = subject.get("namespace") or scope or ""
    return service_account(namespace, subject["name"]) == user


def _covers(rule: dict[str, Any], wish: Wish) -> bool:
    names = rule.get("resourceNames")
    return (
        _has(rule["apiGroups"], wish.group)
        and _has(rule["resources"], wish.resource)
        and _has(rule["verbs"], wish.verb)
        # A create by name cannot be allowed: the name is not known when it is decided.
        and (not names or (wish.name in names and wish.verb != "create"))
    )


def _has(values: list[str], value: str) -> bool:
    return value in values or "*" in values
