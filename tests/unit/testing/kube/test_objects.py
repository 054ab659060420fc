"""Objects, their versions and their past, as the stand-in of an API server keeps them."""

from typing import Any

import pytest

from shoal.core.errors import BadInput
from shoal.testing.kube.objects import Objects, ResourcePath, matcher

POD = ResourcePath.parse("/api/v1/namespaces/a/pods/one")
PODS = ResourcePath.parse("/api/v1/namespaces/a/pods")


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/api/v1/nodes/n", ResourcePath("v1", None, "nodes", "n")),
        ("/api/v1/namespaces/a/pods", ResourcePath("v1", "a", "pods", None)),
        ("/api/v1/namespaces/a", ResourcePath("v1", None, "namespaces", "a")),
        ("/apis/apps/v1/daemonsets", ResourcePath("apps/v1", None, "daemonsets", None)),
    ],
)
def test_a_path_is_a_collection_or_an_object(path: str, expected: ResourcePath) -> None:
    assert ResourcePath.parse(path) == expected


@pytest.mark.parametrize("path", ["/", "/healthz", "/api/v1", "/apis/apps/v1", "/api/v1/a/b/c/d"])
def test_other_paths_are_refused(path: str) -> None:
    with pytest.raises(BadInput):
        ResourcePath.parse(path)


def test_a_collection_of_all_namespaces_holds_each_one_s() -> None:
    assert ResourcePath.parse("/api/v1/pods").holds(POD)
    assert PODS.holds(POD)
    assert not ResourcePath.parse("/api/v1/namespaces/b/pods").holds(POD)


def test_every_change_has_a_version_of_its_own() -> None:
    objects = Objects()
    events = [objects.put(POD, {}), objects.put(POD, {"a": 1}), objects.delete(POD)]
    assert [event.kind for event in events] == ["ADDED", "MODIFIED", "DELETED"]
    assert len({event.version for event in events}) == 3
    assert objects.since(events[0].version) == events[1:]
    assert objects.get(POD) is None


def test_what_was_forgotten_cannot_be_told() -> None:
    objects = Objects()
    version = objects.put(POD, {}).version
    objects.forget()
    assert objects.since(version) is None
    assert objects.since(objects.version) == []


@pytest.mark.parametrize(
    ("labels", "fields", "is_matched"),
    [
        ("", "", True),
        ("a=1", "", True),
        ("a==1,b", "", True),
        ("a=2", "", False),
        ("c", "", False),
        ("", "metadata.name=one", True),
        ("", "metadata.name=two", False),
    ],
)
def test_selectors_of_equality(labels: str, fields: str, is_matched: bool) -> None:
    thing: dict[str, Any] = {"metadata": {"name": "one", "labels": {"a": "1", "b": ""}}}
    assert matcher(labels, fields)(thing) is is_matched


@pytest.mark.parametrize(("labels", "fields"), [("a in (b)", ""), ("!a", ""), ("", "spec.x=1")])
def test_other_selectors_are_refused_rather_than_misread(labels: str, fields: str) -> None:
    with pytest.raises(BadInput):
        matcher(labels, fields)
